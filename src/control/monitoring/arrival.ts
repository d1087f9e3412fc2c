import type { Clock } from '../../kernel/clock.ts'
import { listInstances, listSegments, readSegmentHeader } from '../../kernel/lake/spool-files.ts'

/** Real and calendar time at one moment. */
export interface Mark {
  epochMs: number
  calendarMs: number
}

/** Between a change of the calendar and the last record that a gateway stamps with the time before, in real time. */
export const SETTLE_MS = 500
/** A segment that has been in the spool for longer is not waited for: its rows count when they come, in no verdict. */
export const STUCK_MS = 120_000
const MARKS_MAX = 1_000

/**
 * Up to which calendar time everything that happened is in the lake. Every record that was made before a mark lies in
 * a segment that was begun before it (a moment later at most); once the spool has no such segment, all of them have
 * been ingested. Marks are not kept over a restart: then it is known again a moment later.
 */
export class Arrival {
  readonly #clock: Clock
  readonly #spoolDir: string
  #marks: Mark[] = []

  constructor(clock: Clock, spoolDir: string) {
    this.#clock = clock
    this.#spoolDir = spoolDir
  }

  /** To be called often: a window can be judged once a mark after its end has arrived. */
  mark(): void {
    const now = { epochMs: this.#clock.epochMs(), calendarMs: this.#clock.calendarMs() }
    // Where a clock was set back, what was noted after that time means nothing any more.
    this.#marks = this.#marks.filter((mark) => mark.epochMs < now.epochMs && mark.calendarMs <= now.calendarMs)
    this.#marks.push(now)
    if (this.#marks.length > MARKS_MAX) this.#marks = this.#marks.filter((_, i) => i % 2 === 1)
  }

  /**
   * `arrivedMs`: everything before is in the lake, null while nothing is known. `settledMs`: everything before has been
   * handed to the spool, so that moving it to the lake would bring it there.
   */
  async look(): Promise<{ arrivedMs: number | null; settledMs: number | null }> {
    const nowMs = this.#clock.epochMs()
    const oldestMs = await this.#oldestSegmentMs(nowMs)
    const before = (epochMs: number) =>
      this.#marks.findLast((mark) => mark.epochMs + SETTLE_MS <= epochMs)?.calendarMs ?? null
    return { arrivedMs: before(Math.min(oldestMs, nowMs)), settledMs: before(nowMs) }
  }

  /** When the oldest segment that is still in the spool was begun; Infinity where there is none. */
  async #oldestSegmentMs(nowMs: number): Promise<number> {
    let oldestMs = Number.POSITIVE_INFINITY
    for (const instance of await listInstances(this.#spoolDir)) {
      for (const segment of await listSegments(this.#spoolDir, instance)) {
        const openedMs = await openedAtMs(segment.path)
        if (openedMs !== null && nowMs - openedMs < STUCK_MS) oldestMs = Math.min(oldestMs, openedMs)
      }
    }
    return oldestMs
  }
}

/** Null where it has been ingested meanwhile, or its header can't be read. */
async function openedAtMs(path: string): Promise<number | null> {
  try {
    return (await readSegmentHeader(path))?.openedAtMs ?? null
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
