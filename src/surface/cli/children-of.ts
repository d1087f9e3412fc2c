import path from 'node:path'

import type { LoadedProject } from '../../config/load.ts'
import { processEntry } from '../../kernel/runtime/process-entry.ts'
import { socketDir } from '../../kernel/runtime/socket-dir.ts'
import type { ChildSpec } from '../../processes/supervised-child.ts'

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
  const gatewaySocket = path.join(sockets, 'gateway.sock')
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
    {
      id: 'gateway',
      role: 'gateway',
      entry: processEntry('gateway'),
      env,
      socketPath: gatewaySocket,
      fatalExitCodes: [NEEDS_A_CHANGE],
      options: ({ id, token }) => ({
        gatewayId: id,
        token,
        dataDir: plan.dataDir,
        host: project.gateway.host,
        port: plan.port,
        controlSocket,
        socketPath: gatewaySocket,
        serverName: project.name,
        spool: { minFreeBytes: project.storage.minFreeBytes },
      }),
    },
  ]
}
