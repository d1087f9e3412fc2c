import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { dirname } from 'node:path'
import type { Evaluation } from './evaluation.ts'
import { packageModule } from './package-files.ts'

/** How running a configuration ended: with its answer, or without one. */
export type Outcome =
  | Evaluation
  | { kind: 'timedOut'; afterMs: number; output: string }
  | { kind: 'ended'; exitCode: number | null; signal: string | null; output: string }

const HEAP_MAX_MB = 512
const OUTPUT_MAX_CHARS = 16_384
/** After its end a process's last output may still be on the way. */
const OUTPUT_GRACE_MS = 500

/**
 * Runs millrace.config.ts in a process of its own and takes its default export. What it prints goes nowhere but into the
 * message of a failure. Everything it started is stopped with it.
 *
 * Node's own type stripping runs the file, and not a transpiler: it is there in every Node that Millrace supports, needs
 * no cache on disk, and keeps lines and columns, so that stack traces fit the file. What it can't do (enums, namespaces)
 * has no use in a configuration.
 */
export async function evaluateConfig(path: string, timeoutMs: number): Promise<Outcome> {
  const child = start(path)
  const output = collectOutput(child)
  try {
    const outcome = await firstOf(child, timeoutMs)
    if ('output' in outcome) return { ...outcome, output: await output }
    return outcome
  } finally {
    stopGroup(child)
  }
}

function start(path: string): ChildProcess {
  const limits = ['--no-warnings', `--max-old-space-size=${HEAP_MAX_MB}`]
  const args = [packageModule('config/evaluate-config'), path, packageModule('index'), String(process.pid)]
  return spawn(process.execPath, [...limits, ...args], {
    cwd: dirname(path),
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true, // a group of its own, so that what it starts can be stopped with it
  })
}

function firstOf(child: ChildProcess, timeoutMs: number): Promise<Outcome> {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => {
      stopGroup(child)
      done({ kind: 'timedOut', afterMs: timeoutMs, output: '' })
    }, timeoutMs)
    const settle = (outcome: Outcome) => {
      clearTimeout(timer)
      done(outcome)
    }
    child.on('message', (message) => isEvaluation(message) && settle(message))
    child.on('exit', (exitCode, signal) => settle({ kind: 'ended', exitCode, signal, output: '' }))
    child.on('error', (error) => {
      clearTimeout(timer)
      fail(error)
    })
  })
}

/** The configuration's code can send messages too. */
function isEvaluation(message: unknown): message is Evaluation {
  const kinds = ['value', 'notPlain', 'noDefault', 'threw']
  return typeof message === 'object' && message !== null && 'kind' in message && kinds.includes(String(message.kind))
}

/** The end of what it printed, once it has ended. Reading goes on to the end, so that a chatty file does not block. */
function collectOutput(child: ChildProcess): Promise<string> {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-OUTPUT_MAX_CHARS)))
  }
  return new Promise((done) => {
    child.once('close', () => done(output))
    child.once('exit', () => setTimeout(() => done(output), OUTPUT_GRACE_MS).unref())
  })
}

function stopGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // ESRCH: all have ended already
  }
}
