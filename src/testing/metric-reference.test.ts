import { describe, expect, it } from 'vitest'
import type { MetricDefinition } from '../kernel/metrics/metric.ts'
import { processMetrics } from '../kernel/metrics/process-metrics.ts'
import { gatewayMetrics } from '../serving/gateway/telemetry/gateway-metrics.ts'
import { serverMetrics } from '../serving/model-server/server-metrics.ts'
import { controlMetrics } from '../surface/api/metrics/control-metrics.ts'

const pages: [title: string, intro: string, metrics: MetricDefinition[]][] = [
  ['Gateway', 'A `deployment` is a version as it is served, with replicas of its own.', Object.values(gatewayMetrics)],
  [
    'Model server',
    'A replica, or `millrace serve`. The names that begin with `nv_` are those of Triton Inference Server, so that ' +
      "dashboards for it show Millrace's model servers too; therefore they keep to Triton's rules and not to " +
      "Prometheus': no `_total`, and microseconds.",
    Object.values(serverMetrics),
  ],
  [
    'Control plane',
    'Of a model that has left the configuration only what still runs is told.',
    Object.values(controlMetrics),
  ],
  ['Every process', 'Told by each of them beside its own.', Object.values(processMetrics)],
]

const everything = pages.flatMap(([, , metrics]) => metrics)

/** Written by this test: `vitest run --project fast src/testing/metric-reference.test.ts -u`. */
describe('docs/reference/metrics.md', () => {
  it('lists every metric with its type, labels and meaning', async () => {
    await expect(page()).toMatchFileSnapshot('../../docs/reference/metrics.md')
  })
})

describe('the names of metrics', () => {
  const isTritons = ({ name }: MetricDefinition): boolean => name.startsWith('nv_inference_')
  const own = everything.filter((metric) => !isTritons(metric))

  it('begin with millrace, but for those that are known elsewhere', () => {
    const known = /^(millrace_|process_|nodejs_|http_server_request_duration_seconds$)/
    expect(own.filter(({ name }) => !known.test(name)).map(({ name }) => name)).toEqual([])
  })

  it('end in _total where they count, and nowhere else', () => {
    expect(own.filter(({ name, type }) => name.endsWith('_total') !== (type === 'counter'))).toEqual([])
  })

  it('say seconds and bytes, and no other unit', () => {
    expect(own.filter(({ name }) => /_(ms|us|ns|milliseconds|kb|mb|percent)(_|$)/.test(name))).toEqual([])
    const times = own.filter(({ name }) => /duration|lag|timestamp|start_time/.test(name))
    expect(times.filter(({ name }) => !/_seconds(_total)?$/.test(name) && !name.includes('_loop_'))).toEqual([])
  })

  it('mean the same on every process that has them', () => {
    const byName = Map.groupBy(everything, ({ name }) => name)
    const differing = [...byName.values()].filter((same) => new Set(same.map((one) => JSON.stringify(one))).size > 1)
    expect(differing).toEqual([])
  })
})

function page(): string {
  const sections = pages.map(
    ([title, intro, metrics]) =>
      `## ${title}\n\n${intro}\n\n| Metric | Type | Labels | |\n|---|---|---|---|\n${metrics.map(row).join('')}`,
  )
  return `${HEAD}\n${sections.join('\n')}`
}

function row({ name, type, labels, help }: MetricDefinition): string {
  const named = labels.map((label) => `\`${label}\``).join(' ')
  return `| \`${name}\` | ${type} | ${named} | ${help.replaceAll('|', '\\|')} |\n`
}

const HEAD = `# Metrics

What each process tells Prometheus at \`GET /metrics\`, in its text format. How they are collected, and which question each
of them answers, is in [observability.md](../guides/observability.md).

Counters begin at zero with their process, unless another thing is said. A label that is empty is left out.
`
