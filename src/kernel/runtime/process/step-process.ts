import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { setTimeout as setTimeoutPromise } from 'node:timers/promises'
import { asDataDirError } from '../data-dir.ts'
import { SpawnError, StepGivenUpError } from '../errors.ts'
import { readIfThere } from '../atomic-file.ts'
import { ATTEMPT_MARK, PROCESS_MARK, PROCESS_TOKEN_MARK } from '../marks.ts'
import { bootId, isSameProcessAlive } from '../process-identity.ts'
import { removeProcessRecord, writeProcessRecord } from '../process-record.ts'
import { findTree, killTree } from './kill-tree.ts'
import { exitOf, marksOf, pidOf, type ExitStatus } from './spawn-detached.ts'
import { claimForController, readStepExit, readStepPid, stepFiles, WRAPPER } from './step-files.ts'

/**
 * A step's command, run so that it lives on when the control plane dies and its outcome is not lost. The protocol is in
 * step-files.ts; its ground is the attempt's directory, which belongs to one attempt and is never used again.
 */
export interface StepOptions {
  dir: string
  /** For /bin/sh. */
  command: string
  cwd: string
  /** The whole environment; the attempt's mark is added. */
  env: Record<string, string>
  /** Unique to this attempt. */
  token: string
  /** Given, a process record `run/<id>.json` is kept while the step runs, so that `down` finds it. */
  record?: { dataDir: string; id: string; parent?: string }
  /** Told what has outlived the step, and can't be ended. */
  onSurvivor?: (error: unknown) => void
}

export interface StepHandle {
  pid: number
  /** The command's exit status, 128 + n for signal n, after everything that it left running has been killed. */
  exited: Promise<ExitStatus>
}

export type StepObservation =
  /** No process has claimed it: it may still come, until `claimUnstarted` makes sure that it won't. */
  | { kind: 'not-started' }
  | { kind: 'running'; pid: number | null }
  | { kind: 'exited'; code: number }
  /** It began and is gone without an exit status: killed, or the machine went down. */
  | { kind: 'vanished' }

/** How long a shell may take to begin. */
const BEGIN_TIMEOUT_MS = 30_000
/** For what a step has left running after its end. */
const LEFTOVER_GRACE_MS = 1_000
const STOP_GRACE_MS = 5_000
const OBSERVE_MS = 200

/**
 * Starts the command and resolves once it has claimed its attempt.
 * @throws StepGivenUpError, SpawnError, DataDirError; then the command has not run and will not
 */
export async function startStep(options: StepOptions): Promise<StepHandle> {
  const { dir, token, record, onSurvivor } = options
  const child = spawnWrapper(options)
  const ended = exitOf(child)
  const pid = await pidOf(child, '/bin/sh')
  const timer = timeout(BEGIN_TIMEOUT_MS)
  await Promise.race([lastPipeClosed(child), ended, timer.over])
  timer.clear()
  if (readStepPid(dir)?.pid !== pid) {
    claimForController(dir)
    child.kill('SIGKILL')
    throw whyNotBegun(options, (await ended).signal === 'SIGKILL')
  }
  recordStep(options)
  const exited = ended.then(async (status) => {
    // The step itself is over: whoever stops it before taking its output is refused by what can't be killed.
    await stopStep(dir, token, LEFTOVER_GRACE_MS).then(
      () => noteGone(token),
      (error: unknown) => onSurvivor?.(error),
    )
    if (record !== undefined) removeProcessRecord(record.dataDir, record.id, token)
    return status
  })
  return { pid, exited }
}

export async function observeStep(dir: string, token: string): Promise<StepObservation> {
  const code = readStepExit(dir)
  if (code !== null) return { kind: 'exited', code }
  const claim = readIfThere(stepFiles(dir).claim)
  if (claim === null || claim === 'controller\n') return { kind: 'not-started' }
  const identity = readStepPid(dir)
  if (identity === null) return observeWithoutPid(dir, token)
  if (isSameProcessAlive(identity)) return { kind: 'running', pid: identity.pid }
  // It may have ended between the first look at the exit status and the look at the process.
  const late = readStepExit(dir)
  return late === null ? { kind: 'vanished' } : { kind: 'exited', code: late }
}

/**
 * Makes sure that a step which has not begun never will.
 * @returns false where it has begun: observe it again
 */
export async function claimUnstarted(dir: string): Promise<boolean> {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  return claimForController(dir)
}

/** Attempts that have ended and of which is known that nothing runs any more: so nothing ever will. */
const gone = new Set<string>()
const GONE_MAX = 1_000

/** Stopping this step, once, will find nothing. */
export function noteGone(token: string): void {
  if (gone.size >= GONE_MAX) gone.clear()
  gone.add(token)
}

/**
 * Ends the step with everything that it has started, also what has left its process group. May be repeated.
 * @throws ProcessSurvivedError
 */
export async function stopStep(dir: string, token: string, graceMs: number = STOP_GRACE_MS): Promise<void> {
  if (gone.delete(token)) return
  const identity = readStepPid(dir)
  await killTree({ roots: identity === null ? [] : [identity], mark: markOf(token), graceMs })
}

/** Waits for the end of a step that another process has started. */
export async function waitForStep(
  dir: string,
  token: string,
  { everyMs = OBSERVE_MS, signal }: { everyMs?: number; signal?: AbortSignal } = {},
): Promise<Exclude<StepObservation, { kind: 'running' }>> {
  for (;;) {
    signal?.throwIfAborted()
    const seen = await observeStep(dir, token)
    if (seen.kind !== 'running') return seen
    await setTimeoutPromise(everyMs)
  }
}

function spawnWrapper({ dir, command, cwd, env, token, record }: StepOptions): ChildProcess {
  // Node reports a missing folder as a missing /bin/sh.
  if (!existsSync(cwd)) throw new SpawnError(command, `its working directory '${cwd}' does not exist`)
  const log = openLog(dir)
  // Inherited marks would make it look like the process that started it.
  const { [PROCESS_MARK]: _process, [PROCESS_TOKEN_MARK]: _token, ...others } = env
  const marks: Record<string, string> =
    record === undefined ? {} : marksOf({ dataDir: record.dataDir, id: record.id, token })
  try {
    return spawn('/bin/sh', ['-c', WRAPPER, 'sh', dir, command, bootId()], {
      cwd,
      env: { ...others, ...marks, [ATTEMPT_MARK]: token },
      detached: true,
      stdio: ['ignore', log, log, 'pipe'],
    })
  } finally {
    closeSync(log)
  }
}

function openLog(dir: string): number {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    return openSync(stepFiles(dir).log, 'a', 0o600)
  } catch (thrown) {
    throw asDataDirError(thrown, dir)
  }
}

/** The wrapper closes descriptor 3 when its claim is made, or by ending. */
function lastPipeClosed(child: ChildProcess): Promise<void> {
  const pipe = child.stdio[3] as Readable
  return new Promise((resolve) => {
    pipe.on('close', resolve)
    pipe.on('error', resolve)
    pipe.resume()
  })
}

function whyNotBegun({ dir, command }: StepOptions, tookTooLong: boolean): Error {
  if (tookTooLong) return new SpawnError(command, `its shell did not begin within ${BEGIN_TIMEOUT_MS} ms`)
  const claim = readIfThere(stepFiles(dir).claim)
  return claim === null ? new SpawnError(command, `nothing can be written in '${dir}'`) : new StepGivenUpError(dir)
}

function recordStep({ dir, token, record }: StepOptions): void {
  const identity = readStepPid(dir)
  if (record === undefined || identity === null) return
  const { dataDir, id, parent } = record
  const facts = { id, role: 'step', token, socketPath: null, startedAtMs: Date.now(), parent } as const
  writeProcessRecord(dataDir, { ...facts, ...identity })
}

/** Between its claim and its pid a step is known by its mark alone; where marks can't be read, by the claim's age. */
async function observeWithoutPid(dir: string, token: string): Promise<StepObservation> {
  const [pid] = await findTree({ roots: [], mark: markOf(token) })
  if (pid !== undefined) return { kind: 'running', pid }
  const ageMs = Date.now() - statSync(stepFiles(dir).claim).mtimeMs
  if (process.platform !== 'linux' && ageMs < BEGIN_TIMEOUT_MS) return { kind: 'running', pid: null }
  const identity = readStepPid(dir)
  return identity === null ? { kind: 'vanished' } : observeStep(dir, token)
}

const markOf = (token: string) => ({ name: ATTEMPT_MARK, value: token })

function timeout(ms: number): { over: Promise<void>; clear(): void } {
  let timer: NodeJS.Timeout
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  return { over, clear: () => clearTimeout(timer) }
}
