import type { HistogramSample } from './metric.ts'

/** In seconds, as OpenTelemetry advises for the durations of HTTP requests. @see Semantic conventions for HTTP metrics */
export const DURATION_BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] as const

/** Durations by bucket. Observing one allocates nothing. */
export class DurationHistogram {
  readonly #counts = new Float64Array(DURATION_BOUNDS_S.length + 1)
  #sumMs = 0

  observe(ms: number): void {
    const seconds = ms / 1_000
    let bucket = 0
    while (bucket < DURATION_BOUNDS_S.length && seconds > (DURATION_BOUNDS_S[bucket] as number)) bucket += 1
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1
    this.#sumMs += ms
  }

  sample(labels: readonly string[]): HistogramSample {
    return { labels, bounds: DURATION_BOUNDS_S, counts: this.#counts, sum: this.#sumMs / 1_000 }
  }
}
