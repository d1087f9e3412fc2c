import type { Clock } from '../../kernel/clock.ts'
import type { EndpointRoute } from '../../kernel/contract/routing.ts'
import { retryAnswer, tooManyAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import type { InferCall } from '../front/data-plane.ts'
import { concurrencyOf } from './callers.ts'
import { HIGHEST_PRIORITY } from './decide-shedding.ts'
import type { RoutingTable } from './routing-table.ts'
import { requestPriority } from './request-parameter.ts'

export interface GuardLimits {
  /** Requests under way at once, over all endpoints and protocols. */
  requests: number
  /** From this share of them on, requests of a lower priority than the highest are refused. */
  pressurePercent: number
}

export const guardLimits: GuardLimits = { requests: 4_096, pressurePercent: 90 }

/** What an endpoint is held to while its requests are under way. */
interface EndpointGuard {
  requests: number
  byCaller: Map<string, number>
  /** How long its requests take, the last ones counting most. */
  meanMs: number
}

/** A request that was let in; to be given back by `leave`. */
export interface Entry {
  readonly guard: EndpointGuard
  readonly startedMs: number
  /** Under whose name it is counted; null where no such limit holds. */
  readonly atEndpoint: string | null
  readonly overall: string | null
}

export type Entered = { kind: 'entered'; entry: Entry } | { kind: 'refuse'; answer: Answer }

export interface GuardCounts {
  /** By the limits of the gateway, of endpoints, of callers. */
  refused: { gateway: number; endpoint: number; caller: number }
}

/** How many requests may be under way: over all, per endpoint, per caller. Decided before anything else is done for one. */
export class EndpointGuards {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #limits: GuardLimits
  readonly #guards = new Map<string, EndpointGuard>()
  readonly #byCaller = new Map<string, number>()
  readonly #refused = { gateway: 0, endpoint: 0, caller: 0 }
  #requests = 0

  constructor(clock: Pick<Clock, 'monotonicMs'>, limits: GuardLimits = guardLimits) {
    this.#clock = clock
    this.#limits = limits
  }

  enter(table: RoutingTable, route: EndpointRoute, call: Pick<InferCall, 'caller' | 'body' | 'jsonBytes'>): Entered {
    const guard = this.#guards.get(route.endpoint) ?? this.#add(table, route.endpoint)
    const perCaller = route.limits?.perCaller ?? null
    const overall = concurrencyOf(table, call.caller)
    const answer =
      this.#refusal(guard, call) ??
      this.#endpointRefusal(guard, route) ??
      this.#callerRefusal(guard, route, call, overall)
    if (answer !== null) return { kind: 'refuse', answer }
    const startedMs = this.#clock.monotonicMs()
    this.#requests += 1
    guard.requests += 1
    if (perCaller !== null) add(guard.byCaller, call.caller, 1)
    if (overall !== null) add(this.#byCaller, call.caller, 1)
    const names = {
      atEndpoint: perCaller === null ? null : call.caller,
      overall: overall === null ? null : call.caller,
    }
    return { kind: 'entered', entry: { guard, startedMs, ...names } }
  }

  leave({ guard, startedMs, atEndpoint, overall }: Entry): void {
    this.#requests -= 1
    guard.requests -= 1
    guard.meanMs += (this.#clock.monotonicMs() - startedMs - guard.meanMs) * 0.1
    if (atEndpoint !== null) add(guard.byCaller, atEndpoint, -1)
    if (overall !== null) add(this.#byCaller, overall, -1)
  }

  /** Requests by endpoint. */
  underWay(): [endpoint: string, requests: number][] {
    return Array.from(this.#guards, ([endpoint, { requests }]) => [endpoint, requests])
  }

  get counts(): GuardCounts {
    return { refused: { ...this.#refused } }
  }

  #refusal(guard: EndpointGuard, call: Pick<InferCall, 'body' | 'jsonBytes'>): Answer | null {
    const { requests, pressurePercent } = this.#limits
    if (this.#requests * 100 < requests * pressurePercent) return null
    if (this.#requests < requests && requestPriority(call) <= HIGHEST_PRIORITY) return null
    this.#refused.gateway += 1
    return retryAnswer(`The gateway already works on ${this.#requests} requests.`, guard.meanMs)
  }

  #endpointRefusal(guard: EndpointGuard, { endpoint, limits }: EndpointRoute): Answer | null {
    const most = limits?.concurrency ?? null
    if (most === null || guard.requests < most) return null
    this.#refused.endpoint += 1
    return retryAnswer(`Endpoint '${endpoint}' already works on ${most} requests, its limit.`, guard.meanMs)
  }

  #callerRefusal(
    guard: EndpointGuard,
    { endpoint, limits }: EndpointRoute,
    { caller }: Pick<InferCall, 'caller'>,
    overall: number | null,
  ): Answer | null {
    const here = limits?.perCaller ?? null
    const refused = (most: number, where: string): Answer => {
      this.#refused.caller += 1
      return tooManyAnswer(
        `Caller '${caller}' already has ${most} requests under way${where}, its limit.`,
        guard.meanMs,
      )
    }
    if (here !== null && (guard.byCaller.get(caller) ?? 0) >= here) return refused(here, ` at endpoint '${endpoint}'`)
    if (overall !== null && (this.#byCaller.get(caller) ?? 0) >= overall) return refused(overall, '')
    return null
  }

  /** Those of endpoints that are gone go too. */
  #add(table: RoutingTable, endpoint: string): EndpointGuard {
    for (const [name, { requests }] of this.#guards)
      if (requests === 0 && table.byName.get(name)?.route.endpoint !== name) this.#guards.delete(name)
    const guard: EndpointGuard = { requests: 0, byCaller: new Map(), meanMs: 0 }
    this.#guards.set(endpoint, guard)
    return guard
  }
}

/** Names that have nothing under way are forgotten, so that the map stays as small as what is under way. */
function add(counts: Map<string, number>, name: string, difference: 1 | -1): void {
  const count = (counts.get(name) ?? 0) + difference
  if (count === 0) counts.delete(name)
  else counts.set(name, count)
}
