import type { ModelConfig } from '../../config/project.ts'
import type { Version } from '../registry/version.ts'

/** How replicas are run: local processes here, other runtimes later. */
export interface ReplicaRuntime {
  start(replica: {
    id: string
    token: string
    deploymentId: string
    version: Version
    config: ModelConfig | null
  }): Promise<{ exited: Promise<void> }>
  /** `unknown`: nothing is recorded of it yet. */
  observe(replicaId: string): Promise<'alive' | 'dead' | 'unknown'>
  /** SIGTERM for a drain; SIGKILL once `graceMs` are over. Resolves when it is gone. */
  stop(replicaId: string, graceMs: number): Promise<void>
  /** Removes what a replica that is gone has left. */
  forget(replicaId: string): Promise<void>
  /** Gateway processes that are alive, whether or not they report. */
  liveGateways(): Promise<string[]>
}
