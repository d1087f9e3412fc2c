import { LIVE_BODY, modelReady, READY_BODY, V1_ALIVE, v1ModelReady } from '../../../kernel/protocol/inference.ts'
import { errorAnswer, retryAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import type { DataPlane, Readiness } from '../data-plane.ts'
import { jsonText } from './json-text.ts'
import { onlyName } from './model-name.ts'
import type { ProbeTarget } from './target.ts'

/**
 * What is answered at once, by the head of the request alone, so that it waits for nothing: whether the process, or a
 * model, is alive and ready, and that there is nothing at an address.
 * @param endpoints - that whoever asks may hear of; null: all
 * @throws ProtocolError 404
 */
export function answerProbe(
  plane: DataPlane,
  target: ProbeTarget,
  isDraining: boolean,
  endpoints: readonly string[] | null = null,
): Answer {
  switch (target.kind) {
    case 'unknown':
      return errorAnswer(404, `There is nothing at '${shortened(target.path)}'.`)
    case 'malformed':
      return errorAnswer(400, `Bad path: ${target.why}.`)
    case 'live':
      return jsonText(LIVE_BODY)
    case 'v1-alive':
      return jsonText(V1_ALIVE)
    case 'ready':
      return ready(isDraining ? DRAINING : plane.readiness(), READY_BODY)
    case 'model-ready':
      return ready(isDraining ? DRAINING : plane.modelReadiness(target.name, target.version), modelReady(target.name))
    case 'v1-model':
      return ready(isDraining ? DRAINING : plane.modelReadiness(target.name, null), v1ModelReady(target.name))
    case 'mlflow-ping':
      return ready(isDraining ? DRAINING : plane.modelReadiness(target.name ?? onlyName(plane, endpoints), null), '\n')
  }
}

const DRAINING: Readiness = { ready: false, why: 'Not ready: draining' }

function ready(readiness: Readiness, body: string): Answer {
  return readiness.ready ? jsonText(body) : retryAnswer(readiness.why)
}

function shortened(path: string): string {
  return path.length > 200 ? `${path.slice(0, 200)}…` : path
}
