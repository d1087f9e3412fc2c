import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { parseSnapshot } from './routing-snapshot.ts'

/**
 * The last snapshot on disk, so that a gateway that starts while the control plane is down serves at once.
 * @returns null when there is none yet
 * @throws RoutingSnapshotError when it is damaged
 */
export async function loadRoutes(path: string): Promise<RoutingSnapshot | null> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  return parseSnapshot(text, path)
}

/** Replaces the file whole: after a crash there is the old snapshot or the new one, never half of one. */
export async function saveRoutes(path: string, snapshot: RoutingSnapshot): Promise<void> {
  const folder = dirname(path)
  await mkdir(folder, { recursive: true })
  const draft = `${path}.${process.pid}.new`
  const file = await open(draft, 'w')
  try {
    await file.writeFile(JSON.stringify(snapshot))
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, path)
  await syncFolder(folder)
}

/** Without this the rename itself may be lost with the power. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
