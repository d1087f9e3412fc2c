import { readFileSync, writeSync } from 'node:fs'
import { MillraceError, messageOf } from '../errors.ts'
import { writeFileAtomic } from './atomic-file.ts'

export interface JobTools {
  /** Tells the parent how far it is. */
  progress(value: unknown): void
}

export type JobBody = (input: never, tools: JobTools) => Promise<unknown>

/** Exit status when the parent died; nobody reads it. */
const PARENT_GONE = 113

/**
 * The child's side of `runJob` (see job.ts for the protocol): runs the body named on the command line and writes down
 * what it returned or threw. Ends the process.
 *
 *   await runJobMain({ evaluate: runEvaluateJob, ingest: runIngestJob })
 */
export async function runJobMain(
  bodies: Record<string, JobBody>,
  argv: readonly string[] = process.argv,
): Promise<never> {
  const [kind, inputPath, outputPath] = argv.slice(2)
  if (kind === undefined || inputPath === undefined || outputPath === undefined) {
    throw new Error('Usage: job <kind> <input.json> <output.json>')
  }
  exitWithParent()
  const output = await outcomeOf(() => {
    const body = bodies[kind]
    if (body === undefined) throw new Error(`There is no job of kind '${kind}'.`)
    return body(JSON.parse(readFileSync(inputPath, 'utf8')) as never, { progress })
  })
  writeFileAtomic(outputPath, JSON.stringify(output), { durable: false })
  process.exit('ok' in output ? 0 : 1)
}

/** Standard input is a pipe to the parent: its end is the parent's end, also by SIGKILL. */
function exitWithParent(): void {
  process.stdin.on('close', () => process.exit(PARENT_GONE))
  process.stdin.on('error', () => process.exit(PARENT_GONE))
  process.stdin.resume()
}

function progress(value: unknown): void {
  try {
    writeSync(3, `${JSON.stringify(value)}\n`)
  } catch {
    // Nobody listens (started by hand, or the parent is going): progress is only ever a courtesy.
  }
}

async function outcomeOf(body: () => Promise<unknown>): Promise<{ ok: unknown } | { error: object }> {
  try {
    return { ok: (await body()) ?? null }
  } catch (thrown) {
    console.error(thrown)
    return { error: thrown instanceof MillraceError ? thrown.toJSON() : asDefect(thrown) }
  }
}

function asDefect(thrown: unknown): object {
  const message = `A job failed unexpectedly: ${messageOf(thrown)}`
  const fix = "Look at the control plane's log for where; if it is not your data, please report it."
  return { code: 'MR_JOB_DEFECT', kind: 'internal', message, fix, retryable: false }
}
