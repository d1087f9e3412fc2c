import { DurationHistogram } from '../../../kernel/metrics/duration-histogram.ts'
import type { HistogramSample } from '../../../kernel/metrics/metric.ts'
import { routeOf } from './routes.ts'

/** One time series: requests of one route, method and status. */
interface Series {
  method: string
  status: number
  durations: DurationHistogram
}

interface Route {
  route: string
  /** Few: a route has one method and a handful of statuses. */
  series: Series[]
}

/** Clients ask for the same again and again; more than this is not remembered. */
const REMEMBERED_TARGETS = 512
const REMEMBERED_LENGTH = 256

/** All that HTTP names and PATCH; whatever else somebody writes is one. @see OpenTelemetry, `http.request.method` */
const METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
])
const OTHER = '_OTHER'

/**
 * How long requests took, by route, method and status. Called for every request: what is looked up is found by the
 * target's text alone, and nothing is made but for the first of a kind.
 */
export class RequestDurations {
  readonly #routes = new Map<string, Route>()
  readonly #byTarget = new Map<string, Route>()

  observe(method: string, target: string, status: number, ms: number): void {
    const route = this.#byTarget.get(target) ?? this.#find(target)
    for (const series of route.series) {
      if (series.status !== status || series.method !== method) continue
      return series.durations.observe(ms)
    }
    addSeries(route, target === '' ? OTHER : method, status).durations.observe(ms)
  }

  /** Labels: method, status, route. */
  samples(): HistogramSample[] {
    return [...this.#routes.values()].flatMap(({ route, series }) =>
      series.map(({ method, status, durations }) => durations.sample([method, String(status), route])),
    )
  }

  #find(target: string): Route {
    const name = routeOf(target)
    let route = this.#routes.get(name)
    if (route === undefined) {
      route = { route: name, series: [] }
      this.#routes.set(name, route)
    }
    if (target.length > REMEMBERED_LENGTH) return route
    if (this.#byTarget.size >= REMEMBERED_TARGETS) this.#byTarget.clear()
    this.#byTarget.set(target, route)
    return route
  }
}

/** Under a method that HTTP does not name it may be there already. */
function addSeries({ series }: Route, asked: string, status: number): Series {
  const method = METHODS.has(asked) ? asked : OTHER
  const known = series.find((one) => one.method === method && one.status === status)
  if (known !== undefined) return known
  const added = { method, status, durations: new DurationHistogram() }
  series.push(added)
  return added
}
