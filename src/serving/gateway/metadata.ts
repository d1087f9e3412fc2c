import type { RoutedDeployment } from '../../kernel/contract/routing.ts'
import { callerSignature } from '../../kernel/model/signature.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'
import { errorAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import type { ModelFacts, Readiness } from '../front/data-plane.ts'
import { neededAnswers } from './gather/asking.ts'
import { mainDeployment } from './routing-table.ts'
import type { RoutingTable, TableEndpoint } from './routing-table.ts'

/** More names than this in one error message help nobody. */
const NAMES_MAX = 20

export type Found =
  | { kind: 'found'; entry: TableEndpoint; pinned: RoutedDeployment | null }
  | { kind: 'answer'; why: string; answer: Answer }

/** The endpoint, and the deployment where a version is asked for, or the 404 that says what there is instead. */
export function findModel(table: RoutingTable, name: string, version: string | null): Found {
  const entry = table.byName.get(name)
  if (entry === undefined) return notFound(unknownModel(table, name))
  if (version === null) return { kind: 'found', entry, pinned: null }
  const pinned = entry.byVersion.get(version)
  return pinned === undefined ? notFound(unknownVersion(entry, name, version)) : { kind: 'found', entry, pinned }
}

/** The same for those that throw. @throws ProtocolError 404 */
export function knownModel(
  table: RoutingTable,
  name: string,
  version: string | null,
): Extract<Found, { kind: 'found' }> {
  const found = findModel(table, name, version)
  if (found.kind === 'answer') throw new ProtocolError(404, found.why)
  return found
}

function notFound(why: string): Found {
  return { kind: 'answer', why, answer: errorAnswer(404, why) }
}

function unknownModel(table: RoutingTable, name: string): string {
  const names = table.snapshot.endpoints.map((route) => route.endpoint)
  const known = names.length === 0 ? 'There is no endpoint yet.' : `Endpoints: ${someOf(names)}.`
  return `Request for unknown model: '${name}' is not found. ${known}`
}

function unknownVersion(entry: TableEndpoint, name: string, version: string): string {
  const versions = [...entry.byVersion.keys()]
  const known = versions.length === 0 ? 'It has no live version.' : `Live versions: ${someOf(versions)}.`
  return `Request for unknown model: '${name}' version '${version}' is not found. ${known}`
}

function someOf(names: string[]): string {
  const shown = names.slice(0, NAMES_MAX).join(', ')
  return names.length > NAMES_MAX ? `${shown} and ${names.length - NAMES_MAX} more` : shown
}

/**
 * What clients may know of an endpoint: the signature of the version asked for, else of the members' combined answer,
 * else of the version with most traffic.
 * How many rows its model servers compute together is theirs to know.
 * @throws ProtocolError 404, 503 where nothing of it is deployed
 */
export function modelFacts(table: RoutingTable, name: string, version: string | null): ModelFacts {
  const { entry, pinned } = knownModel(table, name, version)
  const shown = pinned ?? entry.gather ?? mainDeployment(entry) ?? entry.route.deployments.at(-1)
  if (shown === undefined) throw new ProtocolError(503, `Nothing has been released to '${name}' yet.`)
  return {
    name,
    version: shown.version,
    versions: [...entry.byVersion.keys()],
    // Triton's names are of backends; a server of the user's own has none of them.
    platform: 'foreignModel' in shown ? 'custom' : 'onnxruntime_onnx',
    signature: callerSignature(shown.signature),
    maxBatchRows: 0,
    bodyLimitBytes: entry.route.bodyLimitBytes,
  }
}

/**
 * Whether an infer request would be answered, be it by the fallback, or by a replica that it wakes.
 * @param answers - whether a deployment has a replica that may be asked now
 * @throws ProtocolError 404
 */
export function modelReadiness(
  table: RoutingTable,
  name: string,
  version: string | null,
  answers: (deploymentId: string) => boolean,
): Readiness {
  const { entry, pinned } = knownModel(table, name, version)
  const { disabled, fallback } = entry.route
  const able = askedOf(entry, pinned).filter((deployment) => answersOrWakes(deployment, answers))
  const needed = pinned === null && entry.gather !== null ? neededAnswers(entry.gather) : 1
  const isLive = disabled === null && able.length >= Math.max(1, needed)
  const fallsBack = disabled !== null || pinned === null
  const stepsIn = fallback.kind === 'constant' || (entry.fallback !== null && answers(entry.fallback.deploymentId))
  if (isLive || (fallsBack && stepsIn)) return { ready: true }
  if (disabled !== null) return { ready: false, why: `Model '${name}' is disabled: ${disabled.why}` }
  return { ready: false, why: `Model '${name}' has no replica that is ready.` }
}

/** Of a gather all members are, or the quorum that is enough. */
function askedOf({ choices, gather }: TableEndpoint, pinned: RoutedDeployment | null): RoutedDeployment[] {
  if (pinned !== null) return [pinned]
  return (gather?.members ?? choices).map(({ deployment }) => deployment)
}

/** A client that waits for readiness before it asks would never wake what is scaled to zero. */
export function answersOrWakes(
  { deploymentId, wakesWithinMs }: RoutedDeployment,
  answers: (deploymentId: string) => boolean,
): boolean {
  return answers(deploymentId) || wakesWithinMs !== undefined
}
