import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, mkdirSync, openSync, readSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../kernel/errors.ts'
import { writeFileAtomic } from '../kernel/runtime/atomic-file.ts'
import { processMark } from '../kernel/runtime/marks.ts'
import { handshake, isAlive, readProcessRecord } from '../kernel/runtime/process-record.ts'
import type { ProcessRecord, ProcessRole } from '../kernel/runtime/process-record.ts'
import { findTree } from '../kernel/runtime/process/kill-tree.ts'
import { spawnDetached } from '../kernel/runtime/process/spawn-detached.ts'
import { instanceOf } from '../kernel/runtime/socket-dir.ts'
import { stopProcess } from '../kernel/runtime/stop-all.ts'
import { processStartTime } from '../kernel/runtime/process-identity.ts'
import { errorOfChild } from './supervisor-errors.ts'

/** One process that is to run always: `node [nodeArgs] <entry> <options.json>`, output to `logs/<id>.log`. */
export interface ChildSpec {
  id: string
  role: ProcessRole
  entry: string
  nodeArgs?: readonly string[]
  env?: Record<string, string>
  /** What is in the file that it is given, drawn up for each start: the token is what `/identity` must answer. */
  options: (self: { id: string; token: string }) => object | Promise<object>
  /** Where it answers `GET /identity`: then it is ready, and by this a later supervisor knows it. */
  socketPath: string
  /** Exit codes that mean that starting it again would change nothing: they end the start of all. */
  fatalExitCodes: readonly number[]
}

export type SupervisorEvent =
  | { kind: 'started'; id: string; pid: number }
  | { kind: 'adopted'; id: string; pid: number }
  | { kind: 'ready'; id: string; pid: number; afterMs: number }
  /** Every child has been ready once. */
  | { kind: 'all-ready' }
  /** `code` is null for an adopted process, whose exit status is its first parent's to know. */
  | { kind: 'exited'; id: string; code: number | null; againInMs: number }
  | { kind: 'not-started'; id: string; why: string; againInMs: number }
  | { kind: 'stopping'; why: string }
  | { kind: 'stopped'; id: string }

export interface Supervision {
  dataDir: string
  child: ChildSpec
  /** Ends the supervision, not the child. */
  signal: AbortSignal
  onEvent: (event: SupervisorEvent) => void
  onReady: () => void
}

const AGAIN_FIRST_MS = 100
const AGAIN_MAX_MS = 5_000
/** Who has run so long begins to count failures anew. */
const HEALTHY_MS = 30_000
const HANDSHAKE_MS = 2_000
const ADOPT_TRIES = 3
const READY_LOOK_MS = 25
const ALIVE_LOOK_MS = 200
const STOP_STRANGER_MS = 2_000

export const logPathOf = (dataDir: string, id: string): string => join(dataDir, 'logs', `${id}.log`)

/**
 * Keeps one child running until `signal` is aborted. One that has been ready once is tried again whatever it ends with, as a
 * disk that is full may have room again: what else serves must not end with it.
 * @throws its error, when it ends with a fatal exit code and never was ready
 */
export async function superviseChild(given: Supervision): Promise<void> {
  let wasReady = false
  const onReady = (): void => {
    wasReady = true
    given.onReady()
  }
  const supervision = { ...given, onReady }
  const { child, signal, onEvent } = supervision
  let running = await adopt(supervision)
  for (let failures = 0; !signal.aborted;) {
    const startedAt = performance.now()
    try {
      running ??= await start(supervision)
      const code = await untilEnd(running, supervision, startedAt)
      if (signal.aborted) return
      failures = performance.now() - startedAt > HEALTHY_MS ? 1 : failures + 1
      onEvent({ kind: 'exited', id: child.id, code, againInMs: againInMs(failures) })
    } catch (thrown) {
      if (running !== null && !wasReady) throw thrown
      failures++
      onEvent({ kind: 'not-started', id: child.id, why: messageOf(thrown), againInMs: againInMs(failures) })
    }
    running = null
    await pause(againInMs(failures), signal)
  }
}

export function againInMs(failures: number): number {
  return Math.min(AGAIN_MAX_MS, AGAIN_FIRST_MS * 2 ** Math.max(0, failures - 1))
}

interface RunningChild {
  record: ProcessRecord
  /** Its exit code; null where that can't be known. */
  ended: Promise<number | null>
  logStart: number
}

/**
 * A living process of a supervisor that was killed: known by its record, and by what it answers. One that is alive and
 * doesn't answer is hung; it is stopped, and another started.
 */
async function adopt({ dataDir, child, signal, onEvent }: Supervision): Promise<RunningChild | null> {
  const record = readProcessRecord(dataDir, child.id)
  if (record === null || !isAlive(record)) return null
  for (let tries = 0; tries < ADOPT_TRIES; tries++) {
    if (await handshake(record, HANDSHAKE_MS)) {
      onEvent({ kind: 'adopted', id: child.id, pid: record.pid })
      return { record, ended: whileAlive(record, signal), logStart: 0 }
    }
    await pause(ALIVE_LOOK_MS, signal)
  }
  await stopProcess(record, STOP_STRANGER_MS)
  return null
}

async function start({ dataDir, child, onEvent }: Supervision): Promise<RunningChild> {
  const { id, role, socketPath } = child
  await stopUnrecorded(dataDir, id)
  // The record of the one before stays, and names a process that is dead: on a full disk the new one takes its place.
  const token = randomBytes(16).toString('hex')
  const optionsPath = join(dataDir, 'processes', `${id}.json`)
  mkdirSync(dirname(optionsPath), { recursive: true, mode: 0o700 })
  writeFileAtomic(optionsPath, JSON.stringify(await child.options({ id, token })), { durable: false })
  const logPath = logPathOf(dataDir, id)
  const logStart = statSync(logPath, { throwIfNoEntry: false })?.size ?? 0
  const { record, exited } = await spawnDetached({
    id,
    role,
    token,
    socketPath,
    dataDir,
    logPath,
    parent: 'supervisor',
    command: process.execPath,
    args: [...(child.nodeArgs ?? []), child.entry, optionsPath],
    env: { ...ownEnvironment(), ...child.env },
  })
  onEvent({ kind: 'started', id, pid: record.pid })
  return { record, ended: exited.then(({ code }) => code), logStart }
}

/** The database's address, which may hold a password, is in the control plane's options, and nobody else's. */
function ownEnvironment(): Record<string, string> {
  const { MILLRACE_DATABASE_URL: _secret, ...others } = process.env
  return others as Record<string, string>
}

/** A supervisor that is killed between starting a process and writing its record leaves one that only its mark shows. */
async function stopUnrecorded(dataDir: string, id: string): Promise<void> {
  const pids = await findTree({ roots: [], mark: processMark(instanceOf(dataDir), id) }, { descendants: false })
  for (const pid of pids) {
    const startTime = processStartTime(pid)
    if (startTime !== null) await stopProcess({ pid, startTime }, STOP_STRANGER_MS)
  }
}

/** @returns its exit code; null when it can't be known, or when the supervision ended first */
async function untilEnd(running: RunningChild, supervision: Supervision, startedAt: number): Promise<number | null> {
  const { dataDir, child, signal, onEvent, onReady } = supervision
  const over = new AbortController()
  const ended = running.ended.finally(() => over.abort())
  void whenReady(running.record, AbortSignal.any([over.signal, signal])).then((ready) => {
    if (!ready) return
    onEvent({
      kind: 'ready',
      id: child.id,
      pid: running.record.pid,
      afterMs: Math.round(performance.now() - startedAt),
    })
    onReady()
  })
  const code = await orAborted(ended, signal)
  if (code === null || !child.fatalExitCodes.includes(code)) return code
  const logPath = logPathOf(dataDir, child.id)
  throw errorOfChild(child.id, code, logPath, readFrom(logPath, running.logStart))
}

async function whenReady(record: ProcessRecord, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    if (await handshake(record, HANDSHAKE_MS)) return true
    await pause(READY_LOOK_MS, signal)
  }
  return false
}

/** Only a parent is told when a process ends: others have to look. */
async function whileAlive(record: ProcessRecord, signal: AbortSignal): Promise<null> {
  while (isAlive(record) && !signal.aborted) await pause(ALIVE_LOOK_MS, signal)
  return null
}

/** What the promise gives, or null as soon as the signal is aborted. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | null> {
  const aborted = Promise.withResolvers<null>()
  const onAbort = () => aborted.resolve(null)
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  return Promise.race([promise, aborted.promise]).finally(() => signal.removeEventListener('abort', onAbort))
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // Aborted only means: sooner.
  await sleep(ms, undefined, { signal }).catch(() => {})
}

const LAST_WORDS_BYTES = 64 * 1024

function readFrom(path: string, start: number): string {
  const fd = openSync(path, 'r')
  try {
    const { size } = fstatSync(fd)
    // Shortened meanwhile: then its end is what there is.
    const from = Math.max(size < start ? 0 : start, size - LAST_WORDS_BYTES)
    const buffer = Buffer.alloc(size - from)
    return buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, from))
  } finally {
    closeSync(fd)
  }
}
