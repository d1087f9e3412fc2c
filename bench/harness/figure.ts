import type { Machine, Versions } from './machine.ts'

/** One row of docs/reference/benchmarks.md: what is measured, and how. */
export interface Figure {
  /** As it is called on the command line and in results/, e.g. `P9`. */
  id: string
  title: string
  /** True: takes minutes and network, so it runs only when it is named. */
  onlyByName?: boolean
  measure(options: MeasureOptions): Promise<Measured>
}

export interface MeasureOptions {
  /** How many samples to take; null: as many as the figure wants. */
  samples: number | null
  /** For people, on standard error. */
  note: (text: string) => void
}

export interface Measured {
  /** What was run, so that somebody else can do the same: rows, steps, connections, … */
  setup: Record<string, string | number>
  measures: Measure[]
  /** Where the figure goes to: what bounds it now, with its numbers. */
  limitedBy: string
}

export interface Measure {
  name: string
  unit: 'µs' | 'ms' | 's' | 'MB' | 'rows/s' | 'requests/s' | 'requests' | 'ratio' | '%' | 'a month'
  /** In the order in which they were taken. */
  samples: number[]
  /** Null: reported, without a target. */
  target: Target | null
}

/** Which statistic of the samples must be on which side of the bound. */
export type Target = { of: 'p50' | 'p95' | 'max' } & ({ atMost: number } | { atLeast: number })

/** What is written into results/<id>.json. */
export interface Result {
  id: string
  title: string
  /** ISO 8601. */
  date: string
  /** True: others were at work on the machine; take the figures with care. */
  noisy: boolean
  /** Null: none of its measures has a target. */
  met: boolean | null
  machine: Machine
  versions: Versions
  setup: Measured['setup']
  measures: (Measure & Summary & { met: boolean | null })[]
  limitedBy: string
}

export interface Summary {
  p50: number
  p95: number
  min: number
  max: number
}

export function isMet({ target, samples }: Measure): boolean | null {
  if (target === null) return null
  const value = summaryOf(samples)[target.of]
  return 'atMost' in target ? value <= target.atMost : value >= target.atLeast
}

export function summaryOf(samples: number[]): Summary {
  return {
    p50: quantile(samples, 0.5),
    p95: quantile(samples, 0.95),
    min: quantile(samples, 0),
    max: quantile(samples, 1),
  }
}

/**
 * Between the two nearest samples, in proportion (Hyndman and Fan's type 7).
 * @throws RangeError if there are no samples
 */
export function quantile(samples: readonly number[], share: number): number {
  if (samples.length === 0) throw new RangeError('There are no samples.')
  const sorted = samples.toSorted((a, b) => a - b)
  const at = share * (sorted.length - 1)
  const [below, above] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!]
  return below + (above - below) * (at - Math.floor(at))
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5)
