import { mkdirSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { limitLog } from '../kernel/runtime/log-limit.ts'
import { asDataDirError, prepareDataDir } from '../kernel/runtime/data-dir.ts'
import { ownIdentity } from '../kernel/runtime/process-identity.ts'
import { tryProcessLock } from '../kernel/runtime/process-lock.ts'
import { removeProcessRecord, writeProcessRecord } from '../kernel/runtime/process-record.ts'
import { errnoOf } from '../kernel/runtime/system-error.ts'
import { stopAll } from '../kernel/runtime/stop-all.ts'
import { superviseChild, type ChildSpec, type SupervisorEvent } from './supervised-child.ts'
import { SupervisorRunningError } from './supervisor-errors.ts'

/**
 * `millrace up`: starts the children, starts again what dies, and stops everything at the end. It knows nothing of the
 * domain. When it is killed itself, all else lives on, and the next supervisor adopts it.
 */
export interface SupervisorOptions {
  dataDir: string
  /** In the order of starting. */
  children: readonly ChildSpec[]
  onEvent: (event: SupervisorEvent) => void
  /** How long gateways may take to finish what they are answering. */
  drainMs?: number
  /** Stops it like SIGTERM; for those who run it inside another program. */
  signal?: AbortSignal
}

/** Nobody else's business, also where the data directory was made by somebody who lets others in. */
const PRIVATE = ['logs', 'run', 'processes', 'spool', 'gateway', 'runs', 'replicas', 'models', 'environments', 'cache']
const LOG_LIMIT_BYTES = 64 * 1024 * 1024
const LOG_LOOK_MS = 10_000

/**
 * Runs until it is told to stop: SIGTERM, SIGINT or SIGHUP stop in order and without loss, a second one at once.
 * @throws SupervisorRunningError before anything is touched; the error of a child that can't be started; DataDirError
 */
export async function runSupervisor(options: SupervisorOptions): Promise<void> {
  const { dataDir, onEvent } = options
  prepareDataDir(dataDir)
  const attempt = await tryProcessLock(join(dataDir, 'supervisor.lock'))
  if (attempt.kind === 'busy') throw new SupervisorRunningError(dataDir, attempt.holder)
  const stop = followSignals(options.signal)
  try {
    recordSelf(dataDir)
    makePrivateFolders(dataDir)
    const logs = limitLogs(dataDir)
    await superviseAll(options, stop.soon)
    clearInterval(logs)
  } finally {
    onEvent({ kind: 'stopping', why: String(stop.soon.aborted ? stop.soon.reason : 'a process cannot be started') })
    await stopAll(dataDir, {
      drainMs: options.drainMs,
      hurry: stop.now,
      onStopped: ({ id }) => onEvent({ kind: 'stopped', id }),
    })
    removeProcessRecord(dataDir, 'supervisor')
    attempt.lock.release()
    stop.forget()
  }
}

/** Until `stopping`, or until one child can't be started, which ends the others' supervision too. */
async function superviseAll({ dataDir, children, onEvent }: SupervisorOptions, stopping: AbortSignal): Promise<void> {
  const failed = new AbortController()
  const signal = AbortSignal.any([stopping, failed.signal])
  const ready = children.map(() => Promise.withResolvers<void>())
  void Promise.all(ready.map(({ promise }) => promise)).then(() => onEvent({ kind: 'all-ready' }))
  const supervise = async (child: ChildSpec, onReady: () => void) => {
    try {
      await superviseChild({ dataDir, child, signal, onEvent, onReady })
    } catch (thrown) {
      failed.abort()
      throw thrown
    }
  }
  // Each to its end, so that nobody starts a process while the others are being stopped.
  const ends = await Promise.allSettled(children.map((child, i) => supervise(child, () => ready[i]?.resolve())))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

interface StopSignals {
  /** Aborted by the first signal; its reason says which. */
  soon: AbortSignal
  /** Aborted by the second. */
  now: AbortSignal
  forget(): void
}

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

function followSignals(outer: AbortSignal | undefined): StopSignals {
  const [soon, now] = [new AbortController(), new AbortController()]
  const onSignal = (name: string) => (soon.signal.aborted ? now.abort(name) : soon.abort(name))
  const onOuter = () => onSignal('asked to stop')
  for (const name of SIGNALS) process.on(name, onSignal)
  outer?.addEventListener('abort', onOuter)
  if (outer?.aborted === true) onOuter()
  return {
    soon: soon.signal,
    now: now.signal,
    forget() {
      for (const name of SIGNALS) process.off(name, onSignal)
      outer?.removeEventListener('abort', onOuter)
    },
  }
}

function recordSelf(dataDir: string): void {
  const facts = { id: 'supervisor', role: 'supervisor', token: '', socketPath: null, startedAtMs: Date.now() } as const
  writeProcessRecord(dataDir, { ...facts, ...ownIdentity() })
}

/** @throws DataDirError */
function makePrivateFolders(dataDir: string): void {
  try {
    for (const name of PRIVATE) mkdirSync(join(dataDir, name), { recursive: true, mode: 0o700 })
  } catch (thrown) {
    throw asDataDirError(thrown, dataDir)
  }
}

/** Those of its own children, of replicas, and its own where it was detached: all are appended to. */
function limitLogs(dataDir: string): NodeJS.Timeout {
  const dir = join(dataDir, 'logs')
  // What was removed meanwhile needs none; a disk too full to shorten a log gets another look soon.
  const unlessSystem = (thrown: unknown) => {
    if (errnoOf(thrown) === null) throw thrown
  }
  const look = async () => {
    for (const name of (await readdir(dir)).filter((found) => found.endsWith('.log')))
      await limitLog(join(dir, name), LOG_LIMIT_BYTES).catch(unlessSystem)
  }
  const timer = setInterval(() => void look().catch(unlessSystem), LOG_LOOK_MS)
  timer.unref()
  return timer
}
