import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { MillraceError, messageOf, type ErrorFacts } from '../errors.ts'
import { readIfThere, writeFileAtomic } from './atomic-file.ts'
import { runDirOf } from './process-record.ts'

/** EX_CONFIG of sysexits.h: starting the process again would change nothing (port taken, database in use, …). */
export const FATAL_EXIT_CODE = 78

/**
 * Ends a supervised process for good: its supervisor stops all and shows this very error.
 * @param id - of the process record, e.g. `gateway`
 */
export function exitFatally(dataDir: string, id: string, thrown: unknown): never {
  try {
    mkdirSync(runDirOf(dataDir), { recursive: true, mode: 0o700 })
    writeFileAtomic(failurePath(dataDir, id), JSON.stringify(factsOf(thrown)), { durable: false })
  } catch (unwritten) {
    // A read-only or full disk may be the very reason: the log has both.
    console.error(`The reason could not be written down: ${messageOf(unwritten)}`)
  }
  console.error(thrown)
  process.exit(FATAL_EXIT_CODE)
}

/** The error with which a process ended for good; null where it left none. Reading it removes it. */
export function takeFatalError(dataDir: string, id: string): MillraceError | null {
  const path = failurePath(dataDir, id)
  const text = readIfThere(path)
  if (text === null) return null
  rmSync(path, { force: true })
  return new MillraceError(JSON.parse(text) as ErrorFacts)
}

const failurePath = (dataDir: string, id: string) => join(runDirOf(dataDir), `${id}.failure`)

function factsOf(thrown: unknown): ErrorFacts {
  if (thrown instanceof MillraceError) return thrown.toJSON()
  return { code: 'MR_PROCESS_DEFECT', kind: 'internal', message: messageOf(thrown), fix: 'Look at its log for where.' }
}
