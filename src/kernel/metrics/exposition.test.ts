import { describe, expect, it } from 'vitest'
import { hasPromtool, promtoolFindings, readExposition, valueOf } from '../../testing/exposition.ts'
import { DurationHistogram } from './duration-histogram.ts'
import { exposition } from './exposition.ts'
import { counter, gauge, histogram, single } from './metric.ts'
import { processFamilies, processMetrics } from './process-metrics.ts'

const requests = counter('millrace_requests_total', {
  help: 'A "help"\nwith \\ and more.',
  labels: ['endpoint', 'version'],
})
const lag = gauge('millrace_lag_seconds', { help: 'A lag.' })
const took = histogram('millrace_took_seconds', { help: 'A time.', labels: ['route'] })

describe('the text that Prometheus reads', () => {
  it('has help, type and samples, with whatever is special in them escaped', () => {
    const text = exposition([
      { definition: requests, samples: [{ labels: ['a "b" \\ c\nd', '3'], value: 7 }] },
      single(lag, 0.25),
    ])
    expect(text).toBe(
      '# HELP millrace_requests_total A "help"\\nwith \\\\ and more.\n' +
        '# TYPE millrace_requests_total counter\n' +
        'millrace_requests_total{endpoint="a \\"b\\" \\\\ c\\nd",version="3"} 7\n' +
        '# HELP millrace_lag_seconds A lag.\n' +
        '# TYPE millrace_lag_seconds gauge\n' +
        'millrace_lag_seconds 0.25\n',
    )
    expect(valueOf(readExposition(text), requests.name, { endpoint: 'a "b" \\ c\nd' })).toBe(7)
  })

  it('adds up the buckets of a histogram, the last being everything', () => {
    const durations = new DurationHistogram()
    for (const ms of [5, 5.1, 700, 20_000]) durations.observe(ms)
    const metrics = readExposition(exposition([{ definition: took, samples: [durations.sample(['/x'])] }]))
    const below = (le: string) => valueOf(metrics, 'millrace_took_seconds_bucket', { route: '/x', le })
    expect([below('0.005'), below('0.01'), below('0.5'), below('0.75'), below('10'), below('+Inf')]).toEqual([
      1, 2, 2, 3, 3, 4,
    ])
    expect(valueOf(metrics, 'millrace_took_seconds_count')).toBe(4)
    expect(valueOf(metrics, 'millrace_took_seconds_sum')).toBeCloseTo(20.7101)
  })

  it('leaves out labels that are empty, and knows numbers that are none', () => {
    const of = (version: string, value: number) => ({ labels: ['e', version], value })
    expect(
      exposition([{ definition: requests, samples: [of('', Infinity), of('1', -Infinity), of('2', Number.NaN)] }]),
    ).toContain(
      'millrace_requests_total{endpoint="e"} +Inf\n' +
        'millrace_requests_total{endpoint="e",version="1"} -Inf\n' +
        'millrace_requests_total{endpoint="e",version="2"} NaN\n',
    )
  })

  it('refuses a sample with another number of labels than its metric has', () => {
    expect(() => exposition([{ definition: requests, samples: [{ labels: ['e'], value: 1 }] }])).toThrow(
      /has the labels endpoint, version, and got 1/,
    )
  })
})

describe('what is told of a process', () => {
  it('is what it takes of the machine, and when it began', () => {
    const metrics = readExposition(exposition(processFamilies('1.2.3')))
    expect([...metrics.keys()]).toEqual(Object.values(processMetrics).map(({ name }) => name))
    expect(valueOf(metrics, 'millrace_build_info', { version: '1.2.3' })).toBe(1)
    expect(valueOf(metrics, 'process_resident_memory_bytes')).toBeGreaterThan(10_000_000)
    expect(valueOf(metrics, 'process_cpu_seconds_total')).toBeGreaterThan(0)
    const startedMs = valueOf(metrics, 'process_start_time_seconds') * 1_000
    expect(Math.abs(Date.now() - performance.now() - startedMs)).toBeLessThan(5_000)
  })

  it.skipIf(!hasPromtool)('is nothing that promtool (where it is installed) objects to', () => {
    expect(promtoolFindings(exposition(processFamilies('1.2.3')))).toEqual([])
  })
})

describe('the reader of the tests', () => {
  it.each([
    ['a sample without its metric', 'a 1\n', /no sample of a metric/],
    ['a sample of another metric', '# HELP a x\n# TYPE a gauge\nb 1\n', /another metric than a/],
    ['the same sample twice', '# HELP a x\n# TYPE a gauge\na 1\na 2\n', /was there before/],
    ['the same metric twice', '# HELP a x\n# TYPE a gauge\n# HELP a x\n', /was there before/],
    ['labels that are none', '# HELP a x\n# TYPE a gauge\na{b=c} 1\n', /no labels/],
    [
      'a histogram without its end',
      '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',
      /no histogram/,
    ],
    ['a text without an end', '# HELP a x', /has no end/],
  ])('refuses %s', (_what, text, why) => {
    expect(() => readExposition(text)).toThrow(why)
  })
})
