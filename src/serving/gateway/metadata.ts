import type { RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { TensorSpec } from '../../kernel/model/signature.ts'
import { errorAnswer, jsonAnswer, retryAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import { mainDeployment } from './routing-table.ts'
import type { RoutingTable, TableEndpoint } from './routing-table.ts'

/** More names than this in one error message help nobody. */
const NAMES_MAX = 20

export type Found =
  | { kind: 'found'; entry: TableEndpoint; pinned: RoutedDeployment | null }
  | { kind: 'answer'; answer: Answer }

/** The endpoint, and the deployment where a version is asked for, or the 404 that says what there is instead. */
export function findModel(table: RoutingTable, name: string, version: string | null): Found {
  const entry = table.byName.get(name)
  if (entry === undefined) return { kind: 'answer', answer: unknownModel(table, name) }
  if (version === null) return { kind: 'found', entry, pinned: null }
  const pinned = entry.byVersion.get(version)
  if (pinned === undefined) return { kind: 'answer', answer: unknownVersion(entry, name, version) }
  return { kind: 'found', entry, pinned }
}

function unknownModel(table: RoutingTable, name: string): Answer {
  const names = table.snapshot.endpoints.map((route) => route.endpoint)
  const known = names.length === 0 ? 'There is no endpoint yet.' : `Endpoints: ${someOf(names)}.`
  return errorAnswer(404, `Request for unknown model: '${name}' is not found. ${known}`)
}

function unknownVersion(entry: TableEndpoint, name: string, version: string): Answer {
  const versions = [...entry.byVersion.keys()]
  const known = versions.length === 0 ? 'It has no live version.' : `Live versions: ${someOf(versions)}.`
  return errorAnswer(404, `Request for unknown model: '${name}' version '${version}' is not found. ${known}`)
}

function someOf(names: string[]): string {
  const shown = names.slice(0, NAMES_MAX).join(', ')
  return names.length > NAMES_MAX ? `${shown} and ${names.length - NAMES_MAX} more` : shown
}

/** GET /v2/models/M: the signature of the version asked for, else of the one with most traffic. */
export function modelMetadata(table: RoutingTable, name: string, version: string | null): Answer {
  const found = findModel(table, name, version)
  if (found.kind === 'answer') return found.answer
  const shown = found.pinned ?? mainDeployment(found.entry) ?? found.entry.route.deployments.at(-1)
  if (shown === undefined) return retryAnswer(`Model '${name}' has no version that could describe it.`)
  return jsonAnswer(200, {
    name,
    versions: [...found.entry.byVersion.keys()],
    platform: 'onnxruntime_onnx',
    inputs: shown.signature.inputs.map((spec) => tensorMetadata(spec)),
    outputs: shown.signature.outputs.map((spec) => tensorMetadata(spec)),
  })
}

function tensorMetadata({ name, datatype, shape }: TensorSpec): Pick<TensorSpec, 'name' | 'datatype' | 'shape'> {
  return { name, datatype, shape }
}

/**
 * GET /v2/models/M/ready: whether an infer request would be answered, be it by the fallback.
 * @param answers - whether a deployment has a replica that may be asked now
 */
export function modelReadiness(
  table: RoutingTable,
  name: string,
  version: string | null,
  answers: (deploymentId: string) => boolean,
): Answer {
  const found = findModel(table, name, version)
  if (found.kind === 'answer') return found.answer
  const asked = found.pinned === null ? found.entry.choices.map((choice) => choice.deployment) : [found.pinned]
  const { disabled, fallback } = found.entry.route
  const isLive = disabled === null && asked.some((deployment) => answers(deployment.deploymentId))
  const fallsBack = disabled !== null || found.pinned === null
  const stepsIn =
    fallback.kind === 'constant' || (found.entry.fallback !== null && answers(found.entry.fallback.deploymentId))
  if (isLive || (fallsBack && stepsIn)) return jsonAnswer(200, { name, ready: true })
  if (disabled !== null) return errorAnswer(503, `Model '${name}' is disabled: ${disabled.why}`)
  return retryAnswer(`Model '${name}' has no replica that is ready.`)
}
