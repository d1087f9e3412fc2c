import { describe, expect, it } from 'vitest'
import type { EndpointRoute, RoutedCaller } from '../../kernel/contract/routing.ts'
import { fakeClock } from '../../testing/fake-clock.ts'
import { inferBody, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import { header, textOf } from '../../testing/inference-lab.ts'
import { EndpointGuards } from './endpoint-guards.ts'
import type { Entered, Entry, GuardLimits } from './endpoint-guards.ts'
import { buildTable } from './routing-table.ts'

const many: GuardLimits = { requests: 1_000, pressurePercent: 90 }

function given(route: Partial<EndpointRoute>, limits = many, callers: RoutedCaller[] = []) {
  const clock = fakeClock()
  const guards = new EndpointGuards(clock, limits)
  const routes = [routeOf(route), routeOf({ endpoint: 'other', limits: undefined })]
  const table = buildTable({ ...snapshotOf(1, routes), callers })
  const enter = (caller = 'a', endpoint = 0, body = inferBody): Entered =>
    guards.enter(table, routes[endpoint] as EndpointRoute, { caller, body, jsonBytes: null })
  return { clock, guards, enter }
}

function entryOf(entered: Entered): Entry {
  if (entered.kind === 'refuse') throw new Error(`refused: ${textOf(entered.answer)}`)
  return entered.entry
}

function refusal(entered: Entered): [number, string | undefined, string] {
  if (entered.kind === 'entered') throw new Error('it was let in')
  return [entered.answer.status, header(entered.answer, 'Retry-After'), textOf(entered.answer)]
}

describe('an endpoint with a limit', () => {
  it('refuses one more than that with 503 until one has ended', () => {
    const { guards, enter } = given({ limits: { concurrency: 2, perCaller: null } })
    const first = entryOf(enter())
    entryOf(enter('b'))
    const answer = [503, '1', `{"error":"Endpoint 'late-flights' already works on 2 requests, its limit."}`]
    expect(refusal(enter('c'))).toEqual(answer)
    entryOf(enter('c', 1)) // another endpoint
    guards.leave(first)
    entryOf(enter('c'))
    expect(guards.counts.refused).toEqual({ gateway: 0, endpoint: 1, caller: 0 })
  })

  it('refuses a caller with 429 that has its share, and nobody else', () => {
    const { guards, enter } = given({ limits: { concurrency: null, perCaller: 1 } })
    const first = entryOf(enter('a'))
    expect(refusal(enter('a'))).toEqual([
      429,
      '1',
      `{"error":"Caller 'a' already has 1 requests under way at endpoint 'late-flights', its limit."}`,
    ])
    entryOf(enter('b'))
    guards.leave(first)
    entryOf(enter('a'))
    expect(guards.counts.refused).toEqual({ gateway: 0, endpoint: 0, caller: 1 })
  })

  it('says when to come again by how long its requests take', () => {
    const { clock, guards, enter } = given({ limits: { concurrency: 1, perCaller: null } })
    for (let i = 0; i < 50; i++) {
      const entry = entryOf(enter())
      clock.advance(4_500)
      guards.leave(entry)
    }
    entryOf(enter())
    expect(refusal(enter())[1]).toBe('5')
  })
})

describe('a caller with a limit of its own', () => {
  it('is held to it over all endpoints', () => {
    const caller = { name: 'a', keyDigests: [], commonNames: [], endpoints: null, concurrency: 2 }
    const { guards, enter } = given({}, many, [caller])
    const first = entryOf(enter('a', 0))
    entryOf(enter('a', 1))
    expect(refusal(enter('a', 1))).toEqual([
      429,
      '1',
      `{"error":"Caller 'a' already has 2 requests under way, its limit."}`,
    ])
    for (let i = 0; i < 10; i++) entryOf(enter('b', 1))
    guards.leave(first)
    entryOf(enter('a', 1))
  })
})

describe('a limit that changes while requests are under way', () => {
  const route = routeOf()
  const tableOf = (concurrency: number | null) => {
    const caller = { name: 'a', keyDigests: [], commonNames: [], endpoints: null, concurrency }
    return buildTable({ ...snapshotOf(1, [route]), callers: [caller] })
  }
  const call = { caller: 'a', body: inferBody, jsonBytes: null }

  it('holds from the next request on, and what began under another one is given back as it was counted', () => {
    const guards = new EndpointGuards(fakeClock(), many)
    const enter = (concurrency: number | null) => guards.enter(tableOf(concurrency), route, call)
    const begun = [entryOf(enter(3)), entryOf(enter(3)), entryOf(enter(3))]
    expect(refusal(enter(1))[2]).toContain('already has 1 requests under way')
    const unlimited = entryOf(enter(null))
    for (const entry of [...begun, unlimited]) guards.leave(entry)
    const last = entryOf(enter(1))
    expect(refusal(enter(1))[0]).toBe(429)
    guards.leave(last)
    for (let i = 0; i < 4; i++) entryOf(enter(4))
    expect(refusal(enter(4))[0]).toBe(429)
  })

  it('is that of an endpoint all the same', () => {
    const { guards, enter } = given({ limits: { concurrency: null, perCaller: 2 } })
    const begun = [entryOf(enter()), entryOf(enter())]
    const lifted = routeOf({ limits: { concurrency: null, perCaller: null } })
    const table = buildTable(snapshotOf(2, [lifted]))
    const free = entryOf(guards.enter(table, lifted, call))
    for (const entry of [...begun, free]) guards.leave(entry)
    entryOf(enter())
    entryOf(enter())
    expect(refusal(enter())[0]).toBe(429)
  })
})

describe('a gateway near its limit', () => {
  const low = Buffer.from('{"parameters":{"priority":2},"inputs":[]}')
  const high = Buffer.from('{"parameters":{"priority":1},"inputs":[]}')

  it('keeps the last tenth for requests of the highest priority, and refuses all beyond', () => {
    const { guards, enter } = given({}, { requests: 10, pressurePercent: 90 })
    const entries = Array.from({ length: 9 }, (_, i) => entryOf(enter('a', i % 2, low)))
    expect(refusal(enter('a', 0, low))).toEqual([503, '1', '{"error":"The gateway already works on 9 requests."}'])
    entryOf(enter('a', 0, high))
    expect(refusal(enter('a', 0, high))[0]).toBe(503)
    for (const entry of entries.slice(0, 2)) guards.leave(entry)
    entryOf(enter('a', 0, low))
    expect(guards.counts.refused).toEqual({ gateway: 2, endpoint: 0, caller: 0 })
  })
})
