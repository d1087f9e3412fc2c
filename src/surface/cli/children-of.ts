import path from 'node:path'

import type { LoadedProject } from '../../config/load.ts'
import { processEntry } from '../../kernel/runtime/process-entry.ts'
import { socketDir } from '../../kernel/runtime/socket-dir.ts'
import type { ChildSpec } from '../../processes/supervised-child.ts'
import { portOfGateway } from './gateway-port.ts'
import { tlsFilesOf } from './tls-files.ts'

/** What `up` was asked for, and what has become known since: each start of a child takes it as it is then. */
export interface Plan {
  dataDir: string
  loaded: LoadedProject
  by: string
  databaseUrl: string | null
  /** Of the gateway. 0 until a free one was found; a restarted gateway keeps it. */
  port: number
  apiPort: number | null
  /** True once the control plane has taken the configuration: a later `millrace apply` must not be undone by a restart. */
  applied: boolean
}

/** By this status a process says that starting it again changes nothing. */
const NEEDS_A_CHANGE = 12

export function childrenOf(plan: Plan): ChildSpec[] {
  const sockets = socketDir(plan.dataDir)
  const controlSocket = path.join(sockets, 'control.sock')
  const { project, source, sourcePath } = plan.loaded
  // Compiled code is kept between starts: a job or a replica then begins in a third of the time.
  const env = { NODE_COMPILE_CACHE: path.join(plan.dataDir, 'cache', 'node') }
  return [
    {
      id: 'control-plane',
      role: 'control-plane',
      entry: processEntry('control-plane'),
      env,
      socketPath: controlSocket,
      fatalExitCodes: [NEEDS_A_CHANGE],
      options: ({ id, token }) => ({
        id,
        token,
        dataDir: plan.dataDir,
        databaseUrl: plan.databaseUrl,
        apply: plan.applied ? null : { project, source, sourcePath, by: plan.by },
        api: plan.apiPort === null ? null : { host: '127.0.0.1', port: plan.apiPort },
      }),
    },
    ...gatewayIds(project.gateway.processes).map((gatewayId): ChildSpec => ({
      id: gatewayId,
      role: 'gateway',
      entry: processEntry('gateway'),
      env,
      socketPath: socketOf(sockets, gatewayId),
      fatalExitCodes: [NEEDS_A_CHANGE],
      options: async ({ id, token }) => ({
        gatewayId: id,
        token,
        dataDir: plan.dataDir,
        routesPath: path.join(plan.dataDir, 'gateway', id === FIRST_GATEWAY ? 'routes.json' : `${id}.json`),
        controlSocket,
        socketPath: socketOf(sockets, id),
        serverName: project.name,
        spool: { minFreeBytes: project.storage.minFreeBytes },
        ...gatewayOptions(project),
        // HTTP/2 connections stay: sharing a port would leave most calls with whoever got them first.
        ...(id === FIRST_GATEWAY ? {} : { grpcPort: null }),
        // Any free one is chosen by the first: the others follow it there.
        port: id === FIRST_GATEWAY ? plan.port : await sharedPort(plan, sockets),
      }),
    })),
  ]
}

/** The only one, or the first of several: what it leaves behind (spool, routes) is taken up again whatever their number. */
const FIRST_GATEWAY = 'gateway'

/** `gateway`, `gateway-2`, … */
export const gatewayIds = (processes: number): string[] =>
  Array.from({ length: processes }, (_, i) => (i === 0 ? FIRST_GATEWAY : `${FIRST_GATEWAY}-${i + 1}`))

const socketOf = (sockets: string, id: string) => path.join(sockets, `${id}.sock`)

/** As configured, with absolute paths. */
function gatewayOptions({ root, gateway }: LoadedProject['project']) {
  const { host, grpcPort, accessLogPercent, limits, processes } = gateway
  const tls = tlsFilesOf(root, gateway.tls)
  return { host, grpcPort, accessLogPercent, limits, shared: processes > 1, ...(tls === null ? {} : { tls }) }
}

async function sharedPort(plan: Plan, sockets: string): Promise<number> {
  if (plan.port === 0) plan.port = await portOfGateway(socketOf(sockets, FIRST_GATEWAY))
  return plan.port
}
