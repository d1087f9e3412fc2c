import type { DurationTotal, ModelStatistics } from '../front/data-plane.ts'

/** Where the time of one request went; monotonic ms. */
export interface RequestTimes {
  /** Its bytes were here. */
  arrivedMs: number
  /** It was read, and queued. */
  queuedMs: number
  /** The run that it was part of began and ended. */
  startedMs: number
  endedMs: number
  /** Its outputs began to be written, and were. */
  encodingMs: number
  encodedMs: number
}

/**
 * Running totals of one loaded version, as Triton counts them: each request of a run is charged the whole run. Kept in
 * milliseconds as they are measured, in plain fields, because they are written for every request.
 * @see Triton Inference Server, protocol extension "statistics"
 */
export class InferenceTotals {
  #lastMs = 0
  #rows = 0
  #runs = 0
  #succeeded = 0
  #failed = 0
  #successMs = 0
  #failMs = 0
  #queueMs = 0
  #inputMs = 0
  #inferMs = 0
  #outputMs = 0

  /** One run of the model, whatever came of it. */
  countRun(rows: number): void {
    this.#runs += 1
    this.#rows += rows
  }

  countSuccess(times: RequestTimes): void {
    this.#succeeded += 1
    this.#successMs += times.encodedMs - times.arrivedMs
    this.#inputMs += times.queuedMs - times.arrivedMs
    this.#queueMs += times.startedMs - times.queuedMs
    this.#inferMs += times.endedMs - times.startedMs
    this.#outputMs += times.encodedMs - times.encodingMs
    this.#lastMs = times.encodedMs
  }

  countFailure(tookMs: number): void {
    this.#failed += 1
    this.#failMs += tookMs
  }

  /** @param toEpochMs - what to add to monotonic time to get epoch time */
  statistics(name: string, version: string, toEpochMs: number): ModelStatistics {
    const count = this.#succeeded
    return {
      name,
      version,
      lastInferenceMs: this.#lastMs === 0 ? 0 : Math.round(this.#lastMs + toEpochMs),
      inferenceCount: this.#rows,
      executionCount: this.#runs,
      success: total(count, this.#successMs),
      fail: total(this.#failed, this.#failMs),
      queue: total(count, this.#queueMs),
      computeInput: total(count, this.#inputMs),
      computeInfer: total(count, this.#inferMs),
      computeOutput: total(count, this.#outputMs),
    }
  }
}

const total = (count: number, ms: number): DurationTotal => ({ count, ns: Math.round(ms * 1e6) })
