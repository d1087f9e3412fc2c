import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { RoutedReplica } from '../../../src/kernel/contract/routing.ts'
import type { DataPlane, RunningProcess } from './data-plane.ts'
import { spawnPinned, stop } from './pinned.ts'

export interface InstantUpstream extends RunningProcess {
  /** HTTP over TCP. */
  port: number
  /** The same over frames. */
  replica: RoutedReplica
}

/** @param busyMs - what each answer costs, as if a model computed it; 0: it is there at once */
export async function startUpstream(plane: DataPlane, cores: string, busyMs = 0): Promise<InstantUpstream> {
  const framesPath = plane.socket('upstream-frames')
  const file = fileURLToPath(new URL('./instant-upstream.ts', import.meta.url))
  const child = spawnPinned(cores, process.execPath, [file, framesPath, String(busyMs)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const [address] = (await once(child, 'message')) as [AddressInfo]
  const replica = { replicaId: 'upstream', socketPath: '', framesPath }
  return plane.keep({ port: address.port, replica, pid: child.pid!, stop: () => stop(child) })
}
