/** Between two beats; a beat that is later than twice that was held up. */
const BEAT_MS = 10

export interface Stopwatch {
  /** Since it was started, without the time in which this process could not run. */
  ms(): number
  /** To be called once: it keeps the process awake. */
  stop(): void
}

/**
 * Times what this process does by itself: while it was kept from running, nothing could be done. So what is promised of
 * an idle machine can be asserted on a busy one, as long as both ends of it are in this process.
 */
export function stopwatch(): Stopwatch {
  const startedMs = performance.now()
  let lastMs = startedMs
  let heldUpMs = 0
  const beat = setInterval(() => {
    heldUpMs += Math.max(0, performance.now() - lastMs - BEAT_MS * 2)
    lastMs = performance.now()
  }, BEAT_MS)
  return { ms: () => performance.now() - startedMs - heldUpMs, stop: () => clearInterval(beat) }
}

/** What this work takes by the stopwatch, in ms. */
export async function ownMsOf(work: () => Promise<unknown>): Promise<number> {
  const watch = stopwatch()
  try {
    await work()
    return watch.ms()
  } finally {
    watch.stop()
  }
}
