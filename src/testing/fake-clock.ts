import type { Clock } from '../kernel/clock.ts'

export interface FakeClock extends Clock {
  /** Moves all three clocks. */
  advance(ms: number): void
  /** Moves the calendar alone, as a rehearsal does. */
  advanceCalendar(ms: number): void
  /** Sets the real and the calendar clock on (or back), as a person does; the monotonic one knows nothing of it. */
  set(byMs: number): void
}

/** A clock that stands still until it is moved. Calendar and epoch start at `startMs`, monotonic at 0. */
export function fakeClock(startMs = Date.UTC(2001, 0, 1)): FakeClock {
  let calendar = startMs
  let epoch = startMs
  let monotonic = 0
  return {
    calendarMs: () => calendar,
    epochMs: () => epoch,
    monotonicMs: () => monotonic,
    advance(ms) {
      calendar += ms
      epoch += ms
      monotonic += ms
    },
    advanceCalendar(ms) {
      calendar += ms
    },
    set(byMs) {
      calendar += byMs
      epoch += byMs
    },
  }
}
