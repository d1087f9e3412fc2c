import { quantile } from '../../src/testing/open-loop.ts'
import type { Amounts, Evidence } from './release-run.ts'
import type { Load } from './load.ts'

/** The figures of one run as a Markdown table: for the terminal and for docs/reference. */
export function figuresTable(amounts: Amounts, evidence: Evidence, loads: Load[]): string {
  const mishaps = loads.flatMap((load) => load.mishaps)
  const count = (kind: string) => mishaps.filter((mishap) => mishap.kind === kind).length
  const requests = loads.reduce((sum, load) => sum + load.requests, 0)
  const { releases, canaries, rollbacks, disables, enables, removals, retired, kills, tookMs } = evidence
  const rows: [string, string][] = [
    ['took', `${Math.round(tookMs / 1_000)} s at ${amounts.requestsPerSecond} requests/s, seed ${amounts.seed}`],
    ['requests', requests.toLocaleString('en')],
    ['failed', String(count('failed'))],
    ['interrupted', String(count('interrupted'))],
    ['latency p50, p99', loads.map((load) => `${ms(load.latencyMs(0.5))}, ${ms(load.latencyMs(0.99))}`).join('; ')],
    ['replicas killed', String(kills)],
    ['R4: requests to a dead replica, for how long', spread(removals)],
    ['releases at once', spread(releases)],
    ['releases by shadow and canary', spread(canaries)],
    ['R5: rollback, until the other version answers everything', spread(rollbacks)],
    ['R6: disable, until the fallback answers everything', spread(disables)],
    ['enable, until the version answers everything', spread(enables)],
    ['versions retired', String(retired.length)],
  ]
  return ['| figure | value |', '|---|---|', ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n')
}

function spread(times: number[]): string {
  if (times.length === 0) return 'none'
  return `${times.length} times: p50 ${ms(quantile(times, 0.5))}, longest ${ms(Math.max(...times))}`
}

const ms = (value: number): string => (value >= 1_000 ? `${(value / 1_000).toFixed(1)} s` : `${value.toFixed(1)} ms`)
