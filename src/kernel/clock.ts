/**
 * Three clocks. *Calendar* is what people mean by time (cron, ages, label delay, retention) and can be rehearsed;
 * *epoch* is real time for waits that must survive a restart; *monotonic* is for durations inside one process.
 */
export interface Clock {
  /** Calendar time, ms since 1970. Moves with the rehearsal clock where one is set. */
  calendarMs(): number
  /** Real time, ms since 1970. */
  epochMs(): number
  /** Never goes backwards; its origin means nothing. */
  monotonicMs(): number
}

export const systemClock: Clock = {
  calendarMs: () => Date.now(),
  epochMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}
