import { DurationHistogram } from '../../../kernel/metrics/duration-histogram.ts'

export interface LoopTime {
  loop: string
  durations: DurationHistogram
  failures: number
}

/** How long the looks of each control loop take. */
export class LoopTimes {
  readonly #loops = new Map<string, LoopTime>()

  /** The same look, timed. */
  timed<T>(loop: string, look: () => Promise<T>): () => Promise<T> {
    const time: LoopTime = { loop, durations: new DurationHistogram(), failures: 0 }
    this.#loops.set(loop, time)
    return async () => {
      const beganMs = performance.now()
      try {
        return await look()
      } catch (error) {
        time.failures += 1
        throw error
      } finally {
        time.durations.observe(performance.now() - beganMs)
      }
    }
  }

  all(): LoopTime[] {
    return [...this.#loops.values()]
  }
}
