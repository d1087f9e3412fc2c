import { MillraceError, type ErrorFacts } from '../kernel/errors.ts'
import type { LockHolder } from '../kernel/runtime/process-lock.ts'

export class SupervisorRunningError extends MillraceError {
  constructor(dataDir: string, holder: LockHolder | null) {
    const who = holder === null ? 'Another process' : `Process ${holder.pid}`
    const since = holder === null ? '' : ` since ${new Date(holder.sinceMs).toISOString()}`
    super({
      code: 'MR_SUPERVISOR_RUNNING',
      kind: 'conflict',
      message: `${who} already runs Millrace on '${dataDir}'${since}.`,
      fix: "Stop it with 'millrace down', or give this one a data directory of its own with --data-dir.",
    })
  }
}

/** A process said, by its exit status, that starting it again would change nothing. */
export class ChildFailedError extends MillraceError {
  constructor(id: string, code: number, logPath: string, lastWords: string) {
    super({
      code: 'MR_CHILD_FAILED',
      kind: 'unavailable',
      message: `The ${id} ended with status ${code} and cannot be started again${lastWords === '' ? '' : `: ${lastWords}`}.`,
      fix: `Its log is '${logPath}'.`,
    })
  }
}

/** The error of a process, as it wrote it: its last line of JSON with a code and a message. */
export function errorOfChild(id: string, code: number, logPath: string, output: string): MillraceError {
  const lines = output.trim().split('\n').reverse()
  const facts = lines.map(parseFacts).find((found) => found !== null)
  if (facts !== undefined) return new MillraceError(facts)
  return new ChildFailedError(id, code, logPath, (lines[0] ?? '').slice(0, 500))
}

function parseFacts(line: string): ErrorFacts | null {
  if (!line.startsWith('{"code":"MR_')) return null
  try {
    return JSON.parse(line) as ErrorFacts
  } catch {
    // Cut off in the middle: the line before may be whole.
    return null
  }
}
