import {
  jsonBytesOf,
  modelConfig,
  modelMetadata,
  readIndexRequest,
  repositoryIndex,
  serverMetadata,
  statisticsBody,
  v1Models,
} from '../../../kernel/protocol/inference.ts'
import { jsonAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import type { DataPlane, InferAnswer, ModelStatistics, RepositoryEntry } from '../data-plane.ts'
import type { Call } from './call.ts'
import { heardOf } from './heard-of.ts'
import { v2Answer } from './infer-answer.ts'
import { jsonText } from './json-text.ts'
import { v1Predict } from './kserve-v1.ts'
import { checkLoadRequest } from './load-request.ts'
import { mlflowInvocations, mlflowVersion } from './mlflow.ts'
import type { CallTarget } from './target.ts'

/**
 * Translates a request to the data plane, and what it says back.
 * @returns null where the client has left
 * @throws ProtocolError
 */
export function answerCall(plane: DataPlane, target: CallTarget, call: Call): Answer | null | Promise<Answer | null> {
  switch (target.kind) {
    case 'infer':
      return infer(plane, target, call)
    case 'server':
      return jsonText(serverMetadata(plane.server))
    case 'model':
      return jsonText(modelMetadata(plane.describe(target.name, target.version)))
    case 'config':
      return jsonAnswer(200, modelConfig(plane.describe(target.name, target.version)))
    case 'statistics':
      return jsonAnswer(200, statisticsBody(statistics(plane, target, call)))
    case 'index':
      return jsonText(repositoryIndex(index(plane, call)))
    case 'load':
      return load(plane, target.name, call.body)
    case 'unload':
      return done(plane.repository.unload(target.name))
    case 'v1-models':
      return jsonText(v1Models(heardOf(call.endpoints, plane.modelNames(), (name) => name)))
    case 'v1-predict':
      return v1Predict(plane, target.name, call)
    case 'mlflow-version':
      return mlflowVersion(plane, target.name, call)
    case 'mlflow-invocations':
      return mlflowInvocations(plane, target.name, call)
  }
}

/** Of a model that is named, the caller was let through already. */
function statistics(
  plane: DataPlane,
  { name, version }: { name: string | null; version: string | null },
  { endpoints }: Call,
): ModelStatistics[] {
  return heardOf(name === null ? endpoints : null, plane.statistics(name, version), (each) => each.name)
}

function index(plane: DataPlane, { body, endpoints }: Call): RepositoryEntry[] {
  return heardOf(endpoints, plane.repository.index(readIndexRequest(body)), ({ name }) => name)
}

function infer(
  plane: DataPlane,
  { name, version }: { name: string; version: string | null },
  { request, body, caller }: Call,
): Promise<Answer | null> {
  const { headers, cancellation } = request
  const jsonBytes = jsonBytesOf(headers['inference-header-content-length'], body.length)
  return plane.infer({ name, version, headers, body, jsonBytes, caller, cancellation }).then(v2AnswerOrNone)
}

const v2AnswerOrNone = (answer: InferAnswer | null): Answer | null => (answer === null ? null : v2Answer(answer))

function load(plane: DataPlane, name: string, body: Buffer): Promise<Answer> {
  checkLoadRequest(body)
  return done(plane.repository.load(name))
}

/** Success of this extension has no body. */
async function done(change: Promise<void>): Promise<Answer> {
  await change
  return { status: 200, headers: [], body: Buffer.alloc(0) }
}
