import { open } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { messageOf } from '../../kernel/errors.ts'
import { FileUnreadableError, UsageError } from './errors.ts'

const TAIL_BYTES = 64 * 1024
const LOOK_MS = 200

/** The end of `logs/<id>.log` as it is (lines of JSON), read from disk since the process may be dead. */
export async function showProcessLog(dataDir: string, id: string, follow: boolean): Promise<void> {
  if (!/^\w[\w.-]*$/.test(id))
    throw new UsageError(`'${id}' is no process id.`, "'millrace status' lists them, for example gateway or replica-9.")
  const file = path.join(dataDir, 'logs', `${id}.log`)
  let at = await showFrom(file, null)
  while (follow) {
    await sleep(LOOK_MS)
    at = await showFrom(file, at)
  }
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
