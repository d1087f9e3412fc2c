import { statSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock, type Clock } from './clock.ts'
import { MillraceError, messageOf } from './errors.ts'
import { readIfThere, writeFileAtomic } from './runtime/atomic-file.ts'
import { prepareDataDir } from './runtime/data-dir.ts'
import { tryProcessLock } from './runtime/process-lock.ts'

/**
 * A calendar that can be rehearsed: `clock.json` in the data directory moves what people mean by time (cron, ages, label
 * delay) and leaves real time alone. Without the file, the calendar is the system's.
 *
 * The calendar runs from `calendarMs` at `rate` since `anchoredEpochMs`, or stands still while `held`. One process (the
 * control plane) keeps its progress: it writes the file again every KEEP_MS, so that after a stop the calendar goes on
 * where it was instead of jumping over the time in between. Where nobody keeps it, it stands still after KEEP_STALE_MS.
 */
export interface Rehearsal {
  calendarMs: number
  anchoredEpochMs: number
  /** Calendar milliseconds in one real one; 0 moves only by `advance`. */
  rate: number
  held: boolean
}

export type RehearsalChange =
  /** Begins a rehearsal, or goes on to a later time. */
  | { kind: 'set'; calendarMs: number; rate?: number }
  | { kind: 'advance'; ms: number }
  | { kind: 'hold' }
  | { kind: 'release' }

export interface RehearsalClock extends Clock {
  close(): void
}

const LOOK_MS = 50
const KEEP_MS = 1_000
export const KEEP_STALE_MS = 5_000
const LOCK_WAIT_MS = 5_000

/**
 * The three clocks of a process. A change of the file is seen within 100 ms; the calendar never goes back.
 * @param options.keep - for the one process that keeps the calendar's progress
 */
export async function openClock(
  dataDir: string,
  { keep = false, onError = emitWarning }: { keep?: boolean; onError?: (error: unknown) => void } = {},
): Promise<RehearsalClock> {
  if (keep) await keepProgress(dataDir, { afterStop: true })
  const calendar = new FollowedCalendar(join(dataDir, 'clock.json'))
  const follow = setInterval(() => {
    try {
      calendar.follow()
    } catch (thrown) {
      onError(thrown)
    }
  }, LOOK_MS)
  const keeping = keep
    ? setInterval(() => void keepProgress(dataDir, { afterStop: false }).catch(onError), KEEP_MS)
    : undefined
  follow.unref()
  keeping?.unref()
  return {
    calendarMs: () => calendar.nowMs(),
    epochMs: () => systemClock.epochMs(),
    monotonicMs: () => systemClock.monotonicMs(),
    close() {
      clearInterval(follow)
      clearInterval(keeping)
    },
  }
}

/** A clock that can't be read or kept goes on as it was. */
function emitWarning(error: unknown): void {
  process.emitWarning(`The rehearsal's clock: ${messageOf(error)}`)
}

/**
 * Changes the rehearsal; several processes may do so.
 * @throws ClockBackwardsError for a time before the calendar's
 */
export async function writeRehearsal(dataDir: string, change: RehearsalChange): Promise<Rehearsal> {
  return withRehearsal(dataDir, (current, nowMs) => changed(current, change, nowMs))
}

/** null where no rehearsal is set. */
export function readRehearsal(dataDir: string): Rehearsal | null {
  const text = readIfThere(join(dataDir, 'clock.json'))
  return text === null ? null : (JSON.parse(text) as Rehearsal)
}

/** Where the calendar stands at a real time. */
export function calendarAt(rehearsal: Rehearsal, epochMs: number): number {
  if (rehearsal.held) return rehearsal.calendarMs
  const elapsedMs = Math.min(KEEP_STALE_MS, Math.max(0, epochMs - rehearsal.anchoredEpochMs))
  return rehearsal.calendarMs + elapsedMs * rehearsal.rate
}

export function changed(current: Rehearsal | null, change: RehearsalChange, nowMs: number): Rehearsal {
  if (current === null) {
    const calendarMs = change.kind === 'set' ? change.calendarMs : nowMs + (change.kind === 'advance' ? change.ms : 0)
    const rate = change.kind === 'set' ? (change.rate ?? 0) : 1
    return { calendarMs, anchoredEpochMs: nowMs, rate, held: change.kind === 'hold' }
  }
  const here = { ...current, calendarMs: calendarAt(current, nowMs), anchoredEpochMs: nowMs }
  if (change.kind === 'hold') return { ...here, held: true }
  if (change.kind === 'release') return { ...here, held: false }
  const calendarMs = change.kind === 'set' ? change.calendarMs : here.calendarMs + change.ms
  if (calendarMs < here.calendarMs) throw new ClockBackwardsError(here.calendarMs, calendarMs)
  const rate = change.kind === 'set' ? (change.rate ?? here.rate) : here.rate
  return { ...here, calendarMs, rate }
}

export class ClockBackwardsError extends MillraceError {
  constructor(calendarMs: number, wantedMs: number) {
    const [now, wanted] = [calendarMs, wantedMs].map((ms) => new Date(ms).toISOString())
    super({
      code: 'MR_CLOCK_BACKWARDS',
      kind: 'invalid',
      message: `The rehearsal's calendar is at ${now} and cannot go back to ${wanted}.`,
      fix: 'Choose a later time, or start with a new data directory.',
    })
  }
}

/** Reads the file when it has changed, and never lets the calendar go back within a rehearsal. */
class FollowedCalendar {
  readonly #path: string
  #rehearsal: Rehearsal | null = null
  #version = ''
  #latestMs = Number.NEGATIVE_INFINITY

  constructor(path: string) {
    this.#path = path
    this.follow()
  }

  follow(): void {
    const stats = statSync(this.#path, { throwIfNoEntry: false })
    const version = stats === undefined ? '' : `${stats.ino} ${stats.mtimeMs} ${stats.size}`
    if (version === this.#version) return
    const text = readIfThere(this.#path)
    this.#rehearsal = text === null ? null : (JSON.parse(text) as Rehearsal)
    // Before, it was the system's calendar, which may be years ahead.
    if (this.#version === '') this.#latestMs = Number.NEGATIVE_INFINITY
    this.#version = version
  }

  nowMs(): number {
    if (this.#rehearsal === null) return Date.now()
    this.#latestMs = Math.max(this.#latestMs, calendarAt(this.#rehearsal, Date.now()))
    return this.#latestMs
  }
}

/** @param options.afterStop - the time since the last progress was a stop and doesn't count */
async function keepProgress(dataDir: string, { afterStop }: { afterStop: boolean }): Promise<void> {
  const before = readRehearsal(dataDir)
  if (before === null || before.held || before.rate === 0) return
  await withRehearsal(dataDir, (current, nowMs) => {
    if (current === null) throw new Error('The rehearsal was removed while it was running.')
    return {
      ...current,
      calendarMs: afterStop ? current.calendarMs : calendarAt(current, nowMs),
      anchoredEpochMs: nowMs,
    }
  })
}

async function withRehearsal(
  dataDir: string,
  next: (current: Rehearsal | null, nowMs: number) => Rehearsal,
): Promise<Rehearsal> {
  prepareDataDir(dataDir)
  const release = await lockClock(dataDir)
  try {
    const rehearsal = next(readRehearsal(dataDir), Date.now())
    writeFileAtomic(join(dataDir, 'clock.json'), JSON.stringify(rehearsal))
    return rehearsal
  } finally {
    release()
  }
}

async function lockClock(dataDir: string): Promise<() => void> {
  const deadline = performance.now() + LOCK_WAIT_MS
  for (;;) {
    const attempt = await tryProcessLock(join(dataDir, 'clock.lock'))
    if (attempt.kind === 'held') return () => attempt.lock.release()
    if (performance.now() > deadline) throw new Error(`'clock.lock' is held by process ${attempt.holder?.pid}.`)
  }
}
