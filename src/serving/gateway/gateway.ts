import { join } from 'node:path'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { AdminPort } from './admin-port.ts'
import { fallbackSignature } from './constant-answer.ts'
import { DataPort, dataPortLimits } from './data-port.ts'
import type { DataPortLimits } from './data-port.ts'
import { DeploymentPools } from './deployment-pools.ts'
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
import type { RoutingTable } from './routing-table.ts'
import type { Tell } from './tell.ts'
import { Traffic } from './traffic.ts'
import { httpUpstreams } from './upstream/http.ts'
import type { OpenUpstream } from './upstream/upstream.ts'

export interface GatewayOptions {
  gatewayId: string
  /** Instance token: proves to the supervisor and the control plane which start of the gateway this is. */
  token: string
  host: string
  /** 0: any free one. */
  port: number
  dataDir: string
  controlSocket: string
  /** Where GET /identity is answered. */
  socketPath: string
  /** What `GET /v2` says. */
  server: { name: string; version: string }
}

export interface GatewayParts {
  clock: Clock
  random: () => number
  log: PredictionLog
  tell: Tell
  openUpstream?: OpenUpstream
  limits?: { port?: Partial<DataPortLimits>; pool?: Partial<PoolLimits>; mirror?: Partial<MirrorLimits> }
}

export interface Gateway {
  readonly port: number
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
  const rooms = assemble(options, parts)
  await rooms.routes.load()
  const port = await rooms.dataPort.listen(options.host, options.port)
  await rooms.adminPort.listen()
  rooms.reporter.start()
  rooms.link.start()
  return { port, drain: (limits = drainLimits) => drain(rooms, parts.log, limits) }
}

type Rooms = ReturnType<typeof assemble>

/** In this order: no new request, no new routes, nothing more to log, so the last report says how it ended. */
async function drain(rooms: Rooms, log: PredictionLog, limits: DrainLimits): Promise<void> {
  await rooms.dataPort.drain(limits.idleMs, limits.limitMs)
  await rooms.mirrors.close()
  rooms.link.stop()
  await rooms.routes.settled()
  await log.close()
  await rooms.reporter.stop()
  rooms.pools.close()
  await rooms.adminPort.close()
}

function assemble(options: GatewayOptions, parts: GatewayParts) {
  const { clock, log, tell } = parts
  const traffic = new Traffic()
  const pools = assemblePools(parts)
  const control = { socketPath: options.controlSocket, gatewayId: options.gatewayId }
  const routes = new RouteKeeper({
    path: join(options.dataDir, 'gateway', 'routes.json'),
    onTable: (table) => {
      declareSchemas(table, log, tell)
      pools.apply(table.deployments)
    },
    onKept: () => reporter.reportNow(),
    tell,
  })
  const table = () => routes.table
  const { random } = parts
  const keeper = new PredictionKeeper({ log, clock, random, tell })
  const limitsOfCopies = { ...mirrorLimits, ...parts.limits?.mirror }
  const mirrors = new Mirrors({ pools, keeper, traffic, clock, random, tell, limits: limitsOfCopies })
  const inference = new Inference({ table, pools, keeper, mirrors, traffic, clock, random })
  const dataPort = new DataPort({
    table,
    hasRoutes: () => routes.hasRoutes,
    answers: (deploymentId) => pools.answers(deploymentId),
    inference,
    log,
    calendarMs: () => clock.calendarMs(),
    server: options.server,
    tell,
    limits: { ...dataPortLimits, ...parts.limits?.port },
  })
  const { gatewayId, token } = options
  const observe: Observe = () => ({
    gatewayId,
    token,
    pid: process.pid,
    port: dataPort.port,
    epoch: routes.kept.epoch,
    revision: routes.kept.revision,
    inFlight: pools.inFlight(),
    log: log.counts(),
  })
  const reporter = new Reporter(control, observe, traffic, tell)
  const link = new RouteLink(control, (snapshot) => routes.offer(snapshot), tell)
  const adminPort = new AdminPort(options.socketPath, { id: gatewayId, token, pid: process.pid })
  return { pools, routes, dataPort, mirrors, adminPort, reporter, link }
}

function assemblePools({ openUpstream, limits, tell }: GatewayParts): DeploymentPools {
  const all = { ...poolLimits, ...limits?.pool }
  return new DeploymentPools(openUpstream ?? httpUpstreams(), all, (what, replicaId, why) =>
    tell(what === 'out' ? 'warn' : 'info', `replica ${what}`, { replicaId, why }),
  )
}

/** The log needs to know how a version's bodies are to be read before it takes the first of them. */
function declareSchemas(table: RoutingTable, log: PredictionLog, tell: Tell): void {
  const declare = (model: string, version: string, signature: Signature): void => {
    log.append({ kind: 'schema', model, version, signature }, 'relaxed').catch((error: unknown) => {
      tell('error', 'a schema could not be declared to the log', { model, version, error: messageOf(error) })
    })
  }
  for (const { model, deployments, fallback, endpoint } of table.snapshot.endpoints) {
    for (const { version, signature } of deployments) declare(model, version, signature)
    const entry = table.byName.get(endpoint)
    const signature = entry === undefined ? null : fallbackSignature(entry)
    // A constant is no version's prediction.
    if (fallback.kind === 'constant' && signature !== null) declare(model, '', signature)
  }
}
