import { existsSync, readdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { messageOf } from '../../kernel/errors.ts'
import { FileUnreadableError, UsageError } from './errors.ts'

const TAIL_BYTES = 64 * 1024
const LOOK_MS = 200
const SHOWN_MAX = 12

/** The end of `logs/<id>.log` as it is (lines of JSON), read from disk since the process may be dead. */
export async function showProcessLog(dataDir: string, id: string, follow: boolean): Promise<void> {
  if (!/^\w[\w.-]*$/.test(id))
    throw new UsageError(`'${id}' is no process id.`, "'millrace status' lists them, for example gateway or replica-9.")
  const folder = path.join(dataDir, 'logs')
  const file = path.join(folder, `${id}.log`)
  if (!existsSync(file)) throw new UsageError(`There is no log of a process '${id}'.`, `There are: ${logsIn(folder)}.`)
  let at = await showFrom(file, null)
  while (follow) {
    await sleep(LOOK_MS)
    at = await showFrom(file, at)
  }
}

/** The processes that have one, replicas last. */
function logsIn(folder: string): string {
  const ids = (existsSync(folder) ? readdirSync(folder) : [])
    .filter((name) => name.endsWith('.log'))
    .map((name) => name.slice(0, -'.log'.length))
  const isReplica = (id: string) => id.startsWith('replica-')
  const shown = [...ids.filter((id) => !isReplica(id)).toSorted(), ...ids.filter(isReplica)].slice(0, SHOWN_MAX)
  return shown.length === 0 ? 'none yet' : `${shown.join(', ')}${ids.length > shown.length ? ', …' : ''}`
}

/** @param from - null: the last TAIL_BYTES, from the start of a line. @returns where to go on */
async function showFrom(file: string, from: number | null): Promise<number> {
  try {
    await using handle = await open(file)
    const { size } = await handle.stat()
    const start = from === null || from > size ? Math.max(0, size - TAIL_BYTES) : from
    const bytes = Buffer.alloc(size - start)
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, start)
    const cut = from === null && start > 0 ? bytes.indexOf(10) + 1 : 0
    process.stdout.write(bytes.subarray(cut, bytesRead))
    return start + bytesRead
  } catch (error) {
    throw new FileUnreadableError(file, messageOf(error))
  }
}
