import { join } from 'node:path'
import type { ReplicaRuntime } from '../control/release/replica-runtime.ts'
import type { Lease } from '../kernel/contract/routing.ts'
import { leaseOf } from './control-builders.ts'

/** Replicas and gateways whose processes only exist here; each replica says in its lease what it is told to. */
export interface FakeFleet {
  runtime: ReplicaRuntime
  /** Gateways that are alive. */
  gateways: string[]
  /** Those of them that are not heard. */
  deaf: Set<string>
  /** In every gateway's report. */
  inFlight: { deploymentId: string; requests: number }[]
  /** Why no replica can be started. */
  startError: Error | null
  /** That replicas say they have loaded; null: the right one. */
  digest: string | null
  /** What the leases of replicas say besides. */
  state: (replicaId: string) => Partial<Lease>
  /** From now on `state` holds for this deployment alone. */
  only(deploymentId: string): void
  /** Of replicas that are alive. */
  leases: () => Lease[]
  deploymentOf(replicaId: string): string | undefined
  versionOf(replicaId: string): string | undefined
  running(): string[]
  killAll(): void
}

interface FakeReplica {
  lease: Lease
  versionId: string
  alive: boolean
  exited: PromiseWithResolvers<void>
}

export function fakeFleet(dataDir: string): FakeFleet {
  const replicas = new Map<string, FakeReplica>()
  let onlyDeployment: string | null = null
  const end = (id: string): void => {
    const replica = replicas.get(id)
    if (replica !== undefined) replica.alive = false
    replica?.exited.resolve()
  }
  const processOf = (id: string): 'alive' | 'dead' | 'unknown' => {
    const replica = replicas.get(id)
    if (replica === undefined) return 'unknown'
    return replica.alive ? 'alive' : 'dead'
  }
  const said = ({ lease }: FakeReplica): Lease => ({
    ...lease,
    ...(onlyDeployment === null || lease.deploymentId === onlyDeployment ? fleet.state(lease.replicaId) : {}),
    ...(fleet.digest === null ? {} : { loadedDigest: fleet.digest }),
  })
  const runtime: ReplicaRuntime = {
    start({ id, token, deploymentId, version }) {
      if (fleet.startError !== null) return Promise.reject(fleet.startError)
      const exited = Promise.withResolvers<void>()
      const socketPath = join(dataDir, `${id}.sock`)
      const lease = leaseOf({ replicaId: id, token, deploymentId, socketPath, loadedDigest: version.modelDigest })
      replicas.set(id, { lease, versionId: version.id, alive: true, exited })
      return Promise.resolve({ exited: exited.promise })
    },
    observe: (id) => Promise.resolve(processOf(id)),
    stop: (id) => Promise.resolve(end(id)),
    forget: (id) => Promise.resolve(void replicas.delete(id)),
    liveGateways: () => Promise.resolve(fleet.gateways),
  }
  const alive = (): [string, FakeReplica][] => [...replicas].filter(([, replica]) => replica.alive)
  const fleet: FakeFleet = {
    runtime,
    gateways: ['gateway'],
    deaf: new Set(),
    inFlight: [],
    startError: null,
    digest: null,
    state: () => ({ state: 'ready' }),
    only: (deploymentId) => (onlyDeployment = deploymentId),
    leases: () => alive().map(([, replica]) => said(replica)),
    deploymentOf: (id) => replicas.get(id)?.lease.deploymentId,
    versionOf: (id) => replicas.get(id)?.versionId,
    running: () => alive().map(([id]) => id),
    killAll: () => [...replicas.keys()].forEach(end),
  }
  return fleet
}
