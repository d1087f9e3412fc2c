import { join } from 'node:path'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { AdminPort } from './admin-port.ts'
import { identify, identifyForLabels, identifyForMetrics } from './callers.ts'
import { fallbackSignature } from './constant-answer.ts'
import { DataPort, dataPortLimits } from './data-port.ts'
import type { DataPortLimits } from './data-port.ts'
import { DeploymentPools } from './deployment-pools.ts'
import { guardLimits } from './endpoint-guards.ts'
import type { GuardLimits } from './endpoint-guards.ts'
import { GatewayPlane } from './gateway-plane.ts'
import { Gathers } from './gather/gathers.ts'
import type { Declare } from './gather/gathers.ts'
import { ModuleCombiners } from './gather/module-combiners.ts'
import { Inference } from './inference.ts'
import { mirrorLimits, Mirrors } from './mirrors.ts'
import type { MirrorLimits } from './mirrors.ts'
import { PredictionKeeper } from './prediction-keeper.ts'
import type { PredictionLog } from './prediction-log.ts'
import { poolLimits } from './replica-pool.ts'
import type { PoolLimits } from './replica-pool.ts'
import { Reporter } from './reporter.ts'
import type { Observe } from './reporter.ts'
import { RouteKeeper } from './route-keeper.ts'
import { RouteLink } from './route-link.ts'
import { accountName } from './routing-table.ts'
import type { RoutingTable } from './routing-table.ts'
import { openAccessLines } from './telemetry/access-lines.ts'
import type { AccessLines } from './telemetry/access-lines.ts'
import { gatewayMetricsText, knownAccounts } from './telemetry/collect.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import type { Tell } from '../front/tell.ts'
import { Traffic } from './traffic.ts'
import type { GrpcFront } from '../front/grpc/grpc-front.ts'
import type { TlsFiles } from '../front/http/http-front.ts'
import { metricsRoute } from '../front/metrics-route.ts'
import type { CallerOf } from '../front/rest/extras.ts'
import { openUpstreams } from './upstream/open-upstreams.ts'
import type { OpenUpstream } from './upstream/upstream.ts'

export interface GatewayOptions {
  gatewayId: string
  /** Instance token: proves to the supervisor and the control plane which start of the gateway this is. */
  token: string
  host: string
  /** 0: any free one. */
  port: number
  /** Other gateways listen on the same port. */
  shared?: boolean
  /** Absolute paths. Absent: plain HTTP. */
  tls?: TlsFiles
  dataDir: string
  controlSocket: string
  /** gRPC besides, on this port of the same address; 0: any free one. Null or absent: none. */
  grpcPort?: number | null
  /** Where GET /identity is answered. */
  socketPath: string
  /** What `GET /v2` says. */
  server: { name: string; version: string }
  /** Of the requests, drawn, that get a line in `logs/<gatewayId>.access.log`; answers of 5xx do in any case. Default 0. */
  accessLogPercent?: number
  /** Where it keeps its routes; `gateway/routes.json` in the data directory unless given. */
  routesPath?: string
}

export interface GatewayParts {
  clock: Clock
  random: () => number
  log: PredictionLog
  tell: Tell
  openUpstream?: OpenUpstream
  /** Of the access log; its file unless given. */
  accessLines?: AccessLines
  limits?: { port?: Partial<DataPortLimits>; pool?: Partial<PoolLimits>; mirror?: Partial<MirrorLimits> }
}

export interface Gateway {
  readonly port: number
  /** Null: no gRPC. */
  readonly grpcPort: number | null
  /** Finishes what is under way, then closes everything, the log included. At most `limitMs` + the last report. */
  drain(limits?: DrainLimits): Promise<void>
}

export interface DrainLimits {
  /** An open connection on which nothing comes for so long is closed. */
  idleMs: number
  limitMs: number
}

export const drainLimits: DrainLimits = { idleMs: 500, limitMs: 15_000 }

/**
 * Starts the gateway: routes from disk, then its ports, then the links to the control plane, which may be down.
 * @throws GatewayPortTakenError, GatewayListenError
 */
export async function openGateway(options: GatewayOptions, parts: GatewayParts): Promise<Gateway> {
  const assembled = assemble(options, parts)
  await assembled.routes.load()
  const { host, shared, tls } = options
  const port = await assembled.dataPort.listen({ host, port: options.port, shared, tls })
  const grpc = await listenForGrpc(options, assembled, parts)
  assembled.listening.grpcPort = grpc?.port ?? null
  await assembled.adminPort.listen()
  assembled.reporter.start()
  assembled.link.start()
  const drainAll = (limits = drainLimits): Promise<void> => drain(assembled, grpc?.front ?? null, parts.log, limits)
  return { port, grpcPort: grpc?.port ?? null, drain: drainAll }
}

/** The library is loaded only where it is used: it costs 20 MB. */
async function listenForGrpc(
  { host, grpcPort = null, tls }: GatewayOptions,
  assembled: Assembled,
  { tell, limits }: GatewayParts,
): Promise<{ front: GrpcFront; port: number } | null> {
  if (grpcPort === null) return null
  const { openGrpcFront } = await import('../front/grpc/grpc-front.ts')
  const { plane, callerOf, telemetry } = assembled
  const { connections } = { ...dataPortLimits, ...limits?.port }
  const front = openGrpcFront({ plane, callerOf, tell, onDone: telemetry.onDone, limits: { connections } })
  telemetry.grpc = front
  return { front, port: await front.listen({ host, port: grpcPort, tls }) }
}

type Assembled = ReturnType<typeof assemble>

/** In this order: no new request, no new routes, nothing more to log, so the last report says how it ended. */
async function drain(
  assembled: Assembled,
  grpc: GrpcFront | null,
  log: PredictionLog,
  limits: DrainLimits,
): Promise<void> {
  await Promise.all([assembled.dataPort.drain(limits.idleMs, limits.limitMs), grpc?.drain(limits)])
  await assembled.mirrors.close()
  assembled.modules.close()
  assembled.link.stop()
  await assembled.routes.settled()
  await log.close()
  await assembled.reporter.stop()
  assembled.pools.close()
  await assembled.adminPort.close()
  await assembled.telemetry.close()
}

function assemble(options: GatewayOptions, parts: GatewayParts) {
  const { clock, log, tell } = parts
  const traffic = new Traffic()
  const pools = assemblePools(parts)
  const modules = new ModuleCombiners(tell)
  const control = { socketPath: options.controlSocket, gatewayId: options.gatewayId }
  const firstRoutes = join(options.dataDir, 'gateway', 'routes.json')
  const routes = new RouteKeeper({
    path: options.routesPath ?? firstRoutes,
    seedPath: firstRoutes,
    onTable: (table) => {
      declareSchemas(table, log, tell)
      pools.apply(table.deployments)
      modules.apply(table)
      traffic.forgetAnsweredBut(knownAccounts(table))
    },
    onKept: () => reporter.reportNow(),
    tell,
  })
  const table = () => routes.table
  const { random } = parts
  const callerOf: CallerOf = ({ peer, headers }, name) => identify(table(), peer, headers, name)
  const telemetry = new Telemetry({
    callerOf,
    random,
    percent: options.accessLogPercent ?? 0,
    lines: parts.accessLines ?? openAccessLines(accessLogPath(options), options.gatewayId),
  })
  const keeper = new PredictionKeeper({ log, clock, random, tell })
  const limitsOfCopies = { ...mirrorLimits, ...parts.limits?.mirror }
  const mirrors = new Mirrors({ pools, keeper, traffic, clock, random, tell, limits: limitsOfCopies })
  const declare: Declare = (model, version, signature) => declareSchema(log, tell, model, version, signature)
  const gathers = new Gathers({ table, pools, keeper, mirrors, traffic, clock, modules, declare, tell })
  const inference = new Inference({
    table,
    pools,
    keeper,
    mirrors,
    gathers,
    traffic,
    clock,
    random,
    limits: guardLimitsOf(parts),
  })
  const plane = new GatewayPlane({
    table,
    hasRoutes: () => routes.hasRoutes,
    answers: (deploymentId) => pools.answers(deploymentId),
    inference,
    totals: traffic.totals,
    server: options.server,
    tracing: telemetry.tracing,
  })
  const metrics = (): string =>
    gatewayMetricsText({
      version: options.server.version,
      table,
      traffic,
      guards: inference.guards,
      pools,
      durations: telemetry.durations,
      http: () => dataPort,
      grpcCalls: () => telemetry.grpc?.underWay ?? null,
      isFollowing: () => link.isFollowing,
      log: () => log.counts(),
      access: telemetry.lines,
    })
  const metricsFor = metricsRoute(metrics, ({ peer, headers }) => {
    const reader = identifyForMetrics(table(), peer, headers)
    return reader.kind === 'answer' ? reader.answer : null
  })
  const dataPort = new DataPort({
    plane,
    log,
    calendarMs: () => clock.calendarMs(),
    callerOf,
    labelerOf: ({ peer, headers }) => identifyForLabels(table(), peer, headers),
    routes: [metricsFor],
    onDone: telemetry.onDone,
    tell,
    limits: { ...dataPortLimits, ...parts.limits?.port },
  })
  const { gatewayId, token } = options
  const listening: { grpcPort: number | null } = { grpcPort: null }
  const observe: Observe = () => ({
    gatewayId,
    token,
    pid: process.pid,
    port: dataPort.port,
    grpcPort: listening.grpcPort,
    epoch: routes.kept.epoch,
    revision: routes.kept.revision,
    inFlight: pools.inFlight(),
    log: log.counts(),
  })
  const reporter = new Reporter(control, observe, traffic, tell)
  pools.onAsleep = () => reporter.reportNow()
  const link = new RouteLink(control, (snapshot) => routes.offer(snapshot), tell)
  const identity = {
    id: gatewayId,
    token,
    pid: process.pid,
    get port() {
      return dataPort.port
    },
  }
  const adminPort = new AdminPort(options.socketPath, identity, metrics, tell)
  return { pools, routes, plane, callerOf, dataPort, mirrors, modules, adminPort, reporter, link, telemetry, listening }
}

/** Beside the gateway's other log. */
function accessLogPath({ dataDir, gatewayId }: GatewayOptions): string {
  return join(dataDir, 'logs', `${gatewayId}.access.log`)
}

/** What is under way is counted over all protocols; each front counts its own besides. */
function guardLimitsOf({ limits }: GatewayParts): GuardLimits {
  return { ...guardLimits, requests: limits?.port?.requests ?? guardLimits.requests }
}

/** No deployment may take all that the gateway works on: three quarters, as by default. */
function shareOf(requests: number | undefined): Partial<PoolLimits> {
  return requests === undefined ? {} : { requests: Math.ceil((requests * 3) / 4) }
}

function assemblePools({ openUpstream, limits, tell }: GatewayParts): DeploymentPools {
  const all = { ...poolLimits, ...shareOf(limits?.port?.requests), ...limits?.pool }
  return new DeploymentPools(openUpstream ?? openUpstreams(), all, (what, id, why) => {
    const isGood = what === 'up' || what === 'circuit closed'
    if (what === 'circuit open' || what === 'circuit closed')
      tell(isGood ? 'info' : 'warn', what, { deploymentId: id, why })
    else tell(isGood ? 'info' : 'warn', `replica ${what}`, { replicaId: id, why })
  })
}

function declareSchema(log: PredictionLog, tell: Tell, model: string, version: string, signature: Signature): void {
  log.append({ kind: 'schema', model, version, signature }, 'relaxed').catch((error: unknown) => {
    tell('error', 'a schema could not be declared to the log', { model, version, error: messageOf(error) })
  })
}

/** The log needs to know how a version's bodies are to be read before it takes the first of them. */
function declareSchemas(table: RoutingTable, log: PredictionLog, tell: Tell): void {
  const declare: Declare = (model, version, signature) => declareSchema(log, tell, model, version, signature)
  for (const route of table.snapshot.endpoints) {
    const { model, deployments, fallback, endpoint } = route
    for (const deployment of deployments) {
      const name = accountName(route, deployment)
      declare(name.model, name.version, deployment.signature)
    }
    const entry = table.byName.get(endpoint)
    // What a module returns is known once it has.
    if (entry?.gather && entry.gather.route.combine.kind !== 'module')
      declare(model, entry.gather.version, entry.gather.signature)
    const signature = entry === undefined ? null : fallbackSignature(entry)
    // A constant is no version's prediction.
    if (fallback.kind === 'constant' && signature !== null) declare(model, '', signature)
  }
}
