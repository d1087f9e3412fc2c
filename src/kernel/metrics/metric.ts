/**
 * What a process tells Prometheus of itself. Nothing here is counted twice: values are read at each scrape from the
 * counters that a process keeps anyway, so that whoever is not asked pays nothing, and what is gone (a version, an
 * endpoint) is gone from the next scrape on.
 *
 *   definitions (once per process, held against docs/reference/metrics.md) ─▶ samples, at a scrape ─▶ text
 */
export interface MetricDefinition {
  /** Base units; counters end in `_total`. */
  name: string
  type: 'counter' | 'gauge' | 'histogram'
  help: string
  /** In the order in which samples give their values. */
  labels: readonly string[]
}

/** One value. `labels` in the order of the definition; an empty one is left out, which means the same. */
export interface ValueSample {
  labels: readonly string[]
  value: number
}

export interface HistogramSample {
  labels: readonly string[]
  /** Upper bounds, growing, in the unit of the metric. */
  bounds: readonly number[]
  /** Per bound, not added up; one more for everything above the last. */
  counts: ArrayLike<number>
  /** Of all that was observed. */
  sum: number
}

export type MetricFamily =
  | { definition: MetricDefinition & { type: 'counter' | 'gauge' }; samples: readonly ValueSample[] }
  | { definition: MetricDefinition & { type: 'histogram' }; samples: readonly HistogramSample[] }

interface Words {
  help: string
  labels?: readonly string[]
}

export function counter(name: string, { help, labels = [] }: Words): MetricDefinition & { type: 'counter' } {
  return { name, type: 'counter', help, labels }
}

export function gauge(name: string, { help, labels = [] }: Words): MetricDefinition & { type: 'gauge' } {
  return { name, type: 'gauge', help, labels }
}

export function histogram(name: string, { help, labels = [] }: Words): MetricDefinition & { type: 'histogram' } {
  return { name, type: 'histogram', help, labels }
}

/** A metric without labels. */
export function single(definition: MetricDefinition & { type: 'counter' | 'gauge' }, value: number): MetricFamily {
  return { definition, samples: [{ labels: [], value }] }
}

/** One value for each of many things. @param labelsOf - a thing without them is left out */
export function each<T>(
  definition: MetricDefinition & { type: 'counter' | 'gauge' },
  things: Iterable<T>,
  labelsOf: (thing: T) => readonly string[],
  valueOf: (thing: T) => number,
): MetricFamily {
  return { definition, samples: Array.from(things, (thing) => ({ labels: labelsOf(thing), value: valueOf(thing) })) }
}
