import type { EndpointRoute, RoutedDeployment, RouteKey, RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { gatherOf } from './gather/gather-table.ts'
import type { TableGather } from './gather/gather-table.ts'
import { arrival, keyHash, memberSeed } from './sticky.ts'

/** A snapshot prepared for look-ups: building it costs once per change, a look-up costs a Map access. */
export interface RoutingTable {
  snapshot: RoutingSnapshot
  /** By the endpoint's name and, where no endpoint has that name, by the model's. */
  byName: ReadonlyMap<string, TableEndpoint>
  /** Every deployment that may still be chosen, by id. */
  deployments: ReadonlyMap<string, RoutedDeployment>
}

export interface TableEndpoint {
  route: EndpointRoute
  /** Members with traffic. */
  choices: readonly WeightedDeployment[]
  byVersion: ReadonlyMap<string, RoutedDeployment>
  /** Who gets copies of live requests. */
  mirrors: readonly Mirror[]
  /** Where the fallback is a version: its deployment, null while that isn't deployed. */
  fallback: RoutedDeployment | null
  /** In their order; those whose version isn't deployed are left out. */
  rules: readonly TableRule[]
  /** By caller. */
  pins: ReadonlyMap<string, TablePin>
  /** Null: one member answers. */
  gather: TableGather | null
}

export interface TableRule {
  key: RouteKey
  equals: string
  deployment: RoutedDeployment
}

export interface TablePin {
  deployment: RoutedDeployment
  /** By the epoch clock. */
  expiresAtMs: number
}

export interface Mirror {
  deployment: RoutedDeployment
  sharePercent: number
}

export interface WeightedDeployment {
  deployment: RoutedDeployment
  weightPercent: number
  /** Of its races for callers' keys, see sticky.ts. */
  seed: number
}

/** What a gateway holds before it has ever heard of a control plane: nothing, and any snapshot is newer. */
export const emptySnapshot: RoutingSnapshot = { epoch: 0, revision: 0, project: '', issuedAtMs: 0, endpoints: [] }

export type SnapshotDecision =
  | { kind: 'apply'; why: string }
  | { kind: 'same'; why: string }
  | { kind: 'refuse'; why: string }

/** Routes only move forward: a control plane that has lost its lead must not take traffic back. */
export function decideSnapshot(held: RoutingSnapshot, offered: RoutingSnapshot): SnapshotDecision {
  const order = offered.epoch - held.epoch || offered.revision - held.revision
  const why = `offered ${offered.epoch}/${offered.revision}, held ${held.epoch}/${held.revision} (epoch/revision)`
  if (order > 0) return { kind: 'apply', why }
  return order === 0 ? { kind: 'same', why } : { kind: 'refuse', why }
}

export function buildTable(snapshot: RoutingSnapshot): RoutingTable {
  const byName = new Map<string, TableEndpoint>()
  const deployments = new Map<string, RoutedDeployment>()
  const endpoints = snapshot.endpoints.map((route) => tableEndpoint(route))
  for (const entry of endpoints) byName.set(entry.route.endpoint, entry)
  for (const entry of endpoints) {
    if (!byName.has(entry.route.model)) byName.set(entry.route.model, entry)
    for (const deployment of entry.route.deployments) deployments.set(deployment.deploymentId, deployment)
  }
  return { snapshot, byName, deployments }
}

function tableEndpoint(route: EndpointRoute): TableEndpoint {
  const byId = new Map(route.deployments.map((deployment) => [deployment.deploymentId, deployment]))
  const choices: WeightedDeployment[] = []
  for (const member of route.members) {
    const deployment = byId.get(member.deploymentId)
    // As declared: a trial is judged by exactly this share, and a rounded one would look like more errors or fewer.
    const { weightPercent } = member
    if (deployment !== undefined && weightPercent > 0)
      choices.push({ deployment, weightPercent, seed: memberSeed(route.endpoint, deployment.version) })
  }
  const mirrors = route.mirrors.flatMap(({ deploymentId, sharePercent }): Mirror[] => {
    const deployment = byId.get(deploymentId)
    return deployment === undefined || sharePercent <= 0 ? [] : [{ deployment, sharePercent }]
  })
  const fallback = route.fallback.kind === 'version' ? (byId.get(route.fallback.deploymentId) ?? null) : null
  const byVersion = versionsOf(route, choices)
  const ways = { rules: rulesOf(route, byId), pins: pinsOf(route, byId), gather: gatherOf(route, byId) }
  return { route, choices, byVersion, mirrors, fallback, ...ways }
}

function rulesOf({ rules }: EndpointRoute, byId: ReadonlyMap<string, RoutedDeployment>): TableRule[] {
  return (rules ?? []).flatMap(({ key, equals, deploymentId }) => {
    const deployment = byId.get(deploymentId)
    return deployment === undefined ? [] : [{ key, equals, deployment }]
  })
}

function pinsOf({ pins }: EndpointRoute, byId: ReadonlyMap<string, RoutedDeployment>): Map<string, TablePin> {
  const byCaller = new Map<string, TablePin>()
  for (const { caller, deploymentId, expiresAtMs } of pins ?? []) {
    const deployment = byId.get(deploymentId)
    if (deployment !== undefined) byCaller.set(caller, { deployment, expiresAtMs })
  }
  return byCaller
}

/** Where a version is deployed twice (one replaces the other), the one with traffic is meant, else one with replicas. */
function versionsOf(route: EndpointRoute, choices: WeightedDeployment[]): Map<string, RoutedDeployment> {
  const rank = (deployment: RoutedDeployment): number =>
    (choices.some((choice) => choice.deployment === deployment) ? 2 : 0) + (deployment.replicas.length > 0 ? 1 : 0)
  const byVersion = new Map<string, RoutedDeployment>()
  for (const deployment of route.deployments) {
    const other = byVersion.get(deployment.version)
    if (other === undefined || rank(deployment) >= rank(other)) byVersion.set(deployment.version, deployment)
  }
  return byVersion
}

/** Reads a request for what an endpoint routes by; null where it isn't there. */
export type ReadKey = (key: RouteKey) => string | null

/** The version that a caller is kept on; null: on none. */
export function pinOf(entry: TableEndpoint, caller: string, epochMs: number): RoutedDeployment | null {
  if (entry.pins.size === 0) return null
  const pin = entry.pins.get(caller)
  return pin === undefined || pin.expiresAtMs <= epochMs ? null : pin.deployment
}

/** Where the first rule that fits leads to; null: none fits. */
export function ruleOf(entry: TableEndpoint, read: ReadKey): RoutedDeployment | null {
  for (const { key, equals, deployment } of entry.rules) if (read(key) === equals) return deployment
  return null
}

/** What keeps a caller on the same member; null where the endpoint asks for nothing, or the request has it not. */
export function stickyKey({ route }: TableEndpoint, read: ReadKey): string | null {
  const sticky = route.sticky ?? null
  return sticky === null ? null : read(sticky)
}

/**
 * Under which name a deployment's work is counted and logged. A gather asks other models' versions: theirs is the work.
 */
export function accountName(
  { model, gather }: Pick<EndpointRoute, 'model' | 'gather'>,
  deployment: RoutedDeployment,
): { model: string; version: string } {
  if ((gather ?? null) === null) return { model, version: deployment.version }
  const { version } = deployment
  const at = version.lastIndexOf('@')
  return at < 0
    ? { model: deployment.model ?? model, version }
    : { model: version.slice(0, at), version: version.slice(at + 1) }
}

/**
 * One of the endpoint's live deployments, by weight.
 * A member without a replica that answers is left out while another has one: a split must not fail requests that
 * its other side could answer. When none answers, all take part and the chosen one says why it can't.
 * @param draw - uniform in [0, 1)
 * @param answers - whether a deployment has a replica that may be asked now
 * @param key - the caller's: the same one leads to the same member; null: drawn
 * @returns null when the endpoint has no live member
 */
export function chooseDeployment(
  entry: TableEndpoint,
  draw: number,
  answers: (deploymentId: string) => boolean,
  key: string | null = null,
): RoutedDeployment | null {
  return chooseAmong(entry.choices, draw, answers, key)
}

/**
 * As the weights alone say, whether it answers or not: in a trial it is on its account what becomes of the request.
 * @param draw - uniform in [0, 1)
 */
export function drawMember(entry: TableEndpoint, draw: number, key: string | null = null): RoutedDeployment | null {
  return key === null ? drawByWeight(entry.choices, draw) : raceFor(key, entry.choices)
}

/** One that has not just failed the request: by weight, preferring those that answer; null where there is no other. */
export function chooseOther(
  entry: TableEndpoint,
  failedId: string,
  draw: number,
  answers: (deploymentId: string) => boolean,
  key: string | null = null,
): RoutedDeployment | null {
  const others = entry.choices.filter((choice) => choice.deployment.deploymentId !== failedId)
  return chooseAmong(others, draw, answers, key)
}

function chooseAmong(
  choices: readonly WeightedDeployment[],
  draw: number,
  answers: (deploymentId: string) => boolean,
  key: string | null,
): RoutedDeployment | null {
  if (choices.length === 1) return (choices[0] as WeightedDeployment).deployment
  const able = choices.filter((choice) => answers(choice.deployment.deploymentId))
  const among = able.length === 0 ? choices : able
  return key === null ? drawByWeight(among, draw) : raceFor(key, among)
}

function raceFor(key: string, choices: readonly WeightedDeployment[]): RoutedDeployment | null {
  const hash = keyHash(key)
  let first: RoutedDeployment | null = null
  let earliest = Number.POSITIVE_INFINITY
  for (const { deployment, weightPercent, seed } of choices) {
    const at = arrival(hash, seed, weightPercent)
    if (at < earliest) [first, earliest] = [deployment, at]
  }
  return first
}

function drawByWeight(choices: readonly WeightedDeployment[], draw: number): RoutedDeployment | null {
  let left = draw * choices.reduce((sum, choice) => sum + choice.weightPercent, 0)
  for (const choice of choices) {
    if (left < choice.weightPercent) return choice.deployment
    left -= choice.weightPercent
  }
  return choices.at(-1)?.deployment ?? null
}

/** The deployment that speaks for the endpoint where only one can: the one with most traffic. */
export function mainDeployment(entry: TableEndpoint): RoutedDeployment | null {
  let main: WeightedDeployment | null = null
  for (const choice of entry.choices) if (main === null || choice.weightPercent > main.weightPercent) main = choice
  return main?.deployment ?? null
}
