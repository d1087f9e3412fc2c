import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { MillraceError, messageOf, type ErrorFacts } from '../errors.ts'
import { asDataDirError } from './data-dir.ts'
import { JobFailedError, JobTimedOutError } from './errors.ts'
import { PROCESS_TOKEN_MARK } from './marks.ts'
import { processEntry } from './process-entry.ts'
import { startTimeOfChild } from './process-identity.ts'
import { readProcessRecords, removeProcessRecord, writeProcessRecord } from './process-record.ts'
import { killTree } from './process/kill-tree.ts'
import { disown, exitOf, marksOf, pidOf, type ExitStatus } from './process/spawn-detached.ts'

/**
 * Work that must not run inside the control plane (DuckDB, ONNX Runtime, user code), in a child process of its own:
 *
 *   node [nodeArgs] processes/job <kind> <input.json> <output.json>
 *
 * The child's standard input is a pipe that carries nothing: when it closes, the parent is gone and the job ends.
 * Progress comes as lines of JSON on descriptor 3. The output is `{"ok": value}` or `{"error": …}`, written by rename.
 * The other side is job-main.ts.
 */
export interface JobOptions {
  kind: string
  /** Any JSON. */
  input: unknown
  timeoutMs: number
  dataDir: string
  /** Whatever the job reports, e.g. `{ done: 3, of: 10 }`. */
  onProgress?: (progress: unknown) => void
  /** Its lines on standard output and error, for the log; they are also in an error's message. */
  onOutput?: (text: string) => void
  nodeArgs?: readonly string[]
  env?: Record<string, string>
  /** Stops the job when aborted. */
  signal?: AbortSignal
  /** The entry file; `processes/job` unless said. */
  entry?: string
}

const STOP_GRACE_MS = 500
const OUTPUT_TAIL_BYTES = 4_000

/**
 * Runs a job to its end. Nothing of it is left when this returns or throws.
 * @throws the MillraceError that the job threw; JobTimedOutError; JobFailedError; SpawnError; DataDirError
 */
export async function runJob<T>(options: JobOptions): Promise<T> {
  options.signal?.throwIfAborted()
  const dir = makeJobDir(options)
  try {
    const log = openSync(join(dir, 'log'), 'a', 0o600)
    const job = await start(options, dir, log).finally(() => closeSync(log))
    const end = await endOf(job, options)
    options.onOutput?.(readTail(join(dir, 'log')))
    return readOutput<T>(dir, options.kind, end)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/**
 * Ends the jobs that a killed predecessor has left and removes their files. For the start of the one process that runs
 * jobs on this data directory.
 */
export async function sweepJobs(dataDir: string): Promise<void> {
  for (const record of readProcessRecords(dataDir).filter(({ role }) => role === 'job')) {
    await killTree({ roots: [record], mark: { name: PROCESS_TOKEN_MARK, value: record.token }, graceMs: 0 })
    removeProcessRecord(dataDir, record.id, record.token)
  }
  rmSync(join(dataDir, 'jobs'), { recursive: true, force: true })
}

interface RunningJob {
  child: ChildProcess
  pid: number
  startTime: string
  token: string
  id: string
  ended: Promise<ExitStatus>
}

function makeJobDir({ dataDir, kind, input }: JobOptions): string {
  const parent = join(dataDir, 'jobs')
  try {
    mkdirSync(parent, { recursive: true, mode: 0o700 })
    const dir = mkdtempSync(join(parent, `${kind}-`))
    writeFileSync(join(dir, 'input.json'), JSON.stringify(input ?? null), { mode: 0o600 })
    return dir
  } catch (thrown) {
    throw asDataDirError(thrown, parent)
  }
}

async function start(options: JobOptions, dir: string, log: number): Promise<RunningJob> {
  const { kind, dataDir } = options
  const token = randomBytes(16).toString('hex')
  const id = `job-${token.slice(0, 8)}`
  const entry = options.entry ?? processEntry('job')
  const args = [...(options.nodeArgs ?? []), entry, kind, join(dir, 'input.json'), join(dir, 'output.json')]
  const env = { ...process.env, ...options.env, ...marksOf({ dataDir, id, token }) }
  const child = spawn(process.execPath, args, { env, detached: true, stdio: ['pipe', log, log, 'pipe'] })
  const ended = exitOf(child)
  const pid = await pidOf(child, `${kind} job`)
  const startTime = startTimeOfChild(pid)
  // Writing never happens; a job that has closed its end must not become an error here.
  child.stdin?.on('error', () => {})
  followProgress(child.stdio[3] as Readable, options.onProgress)
  try {
    writeProcessRecord(dataDir, { id, role: 'job', pid, startTime, token, socketPath: null, startedAtMs: Date.now() })
  } catch (thrown) {
    await disown(child, ended)
    throw asDataDirError(thrown, dataDir)
  }
  return { child, pid, startTime, token, id, ended }
}

/** @returns how it ended; null when its time was over */
async function endOf(job: RunningJob, { timeoutMs, signal, dataDir, kind }: JobOptions): Promise<ExitStatus> {
  const stopped = Promise.withResolvers<'time is over' | 'aborted'>()
  const timer = setTimeout(() => stopped.resolve('time is over'), timeoutMs)
  const onAbort = () => stopped.resolve('aborted')
  signal?.addEventListener('abort', onAbort, { once: true })
  // While the process was being started.
  if (signal?.aborted === true) onAbort()
  try {
    const first = await Promise.race([job.ended, stopped.promise])
    // Also after a good end, for what it has left running.
    const mark = { name: PROCESS_TOKEN_MARK, value: job.token }
    await killTree({ roots: [job], mark, graceMs: first === 'aborted' ? STOP_GRACE_MS : 0 })
    if (first === 'time is over') throw new JobTimedOutError(kind, timeoutMs)
    signal?.throwIfAborted()
    return await job.ended
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
    job.child.stdin?.destroy()
    removeProcessRecord(dataDir, job.id, job.token)
  }
}

function followProgress(stream: Readable, onProgress: ((progress: unknown) => void) | undefined): void {
  const lines = createInterface({ input: stream, crlfDelay: Infinity })
  lines.on('line', (line) => onProgress?.(parseOrText(line)))
  // The pipe breaks when the job is killed, which shows in its exit status.
  stream.on('error', () => {})
}

/** A line that was cut by a full pipe is still worth showing. */
function parseOrText(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return line
  }
}

function readOutput<T>(dir: string, kind: string, status: ExitStatus): T {
  const path = join(dir, 'output.json')
  if (!existsSync(path))
    throw new JobFailedError(kind, describe(status, readTail(join(dir, 'log'))), status.signal !== null)
  const output = parseOutput(path, kind)
  if ('error' in output) throw new MillraceError(output.error)
  return output.ok as T
}

function parseOutput(path: string, kind: string): { ok: unknown } | { error: ErrorFacts } {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as { ok: unknown } | { error: ErrorFacts }
  } catch (thrown) {
    throw new JobFailedError(kind, `its output cannot be read (${messageOf(thrown)})`, false)
  }
}

function describe({ code, signal }: ExitStatus, output: string): string {
  const how = signal === null ? `exit status ${code}` : `killed by ${signal}`
  return output.trim() === '' ? how : `${how}; its last words: ${output.trim()}`
}

function readTail(path: string): string {
  const { size } = statSync(path)
  const bytes = Math.min(size, OUTPUT_TAIL_BYTES)
  const tail = Buffer.alloc(bytes)
  const fd = openSync(path, 'r')
  try {
    return tail.toString('utf8', 0, readSync(fd, tail, 0, bytes, size - bytes))
  } finally {
    closeSync(fd)
  }
}
