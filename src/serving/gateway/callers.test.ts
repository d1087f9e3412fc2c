import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { RoutedCaller, RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { deploymentOf, routeOf, snapshotOf } from '../../testing/gateway-fakes.ts'
import { header, textOf } from '../../testing/inference-lab.ts'
import { concurrencyOf, identify, identifyForLabels, identifyForMetrics } from './callers.ts'
import { buildTable } from './routing-table.ts'

const digest = (key: string) => createHash('sha256').update(key).digest('hex')
const clinic: RoutedCaller = {
  name: 'clinic',
  keyDigests: [digest('key-old'), digest('key-new')],
  commonNames: ['clinic.example'],
  endpoints: null,
  concurrency: 5,
}
const billing: RoutedCaller = {
  name: 'billing',
  keyDigests: [digest('key-billing')],
  commonNames: [],
  endpoints: ['late-flights'],
  concurrency: null,
}

const other = routeOf({
  endpoint: 'tumours',
  model: 'tumour',
  deployments: [deploymentOf({ deploymentId: 'deployment-9' })],
})
const tableOf = (fields: Partial<RoutingSnapshot> = {}) =>
  buildTable({ ...snapshotOf(1, [routeOf(), other]), callers: [clinic, billing], ...fields })
const table = tableOf()
const here = { isLocal: true, commonName: null }
const elsewhere = { isLocal: false, commonName: null }
const bearer = (key: string) => ({ authorization: `Bearer ${key}` })
const named = (name: string) => ({ kind: 'caller', name })

function refusal(identified: ReturnType<typeof identify>): [number, string | undefined, string] {
  if (identified.kind !== 'answer') throw new Error(`expected a refusal, got '${identified.name}'`)
  const { answer } = identified
  return [answer.status, header(answer, 'WWW-Authenticate'), textOf(answer)]
}

describe('a caller', () => {
  it('is known by any of its keys, from anywhere, each time it calls', () => {
    for (const key of ['key-old', 'key-new', 'key-old'])
      expect(identify(table, elsewhere, bearer(key), 'tumours')).toEqual(named('clinic'))
    expect(identify(table, here, { authorization: 'bearer   key-new ' }, 'tumours')).toEqual(named('clinic'))
  })

  it('is known by its certificate, and by its key rather than that', () => {
    const peer = { isLocal: false, commonName: 'clinic.example' }
    expect(identify(table, peer, {}, 'tumours')).toEqual(named('clinic'))
    expect(identify(table, peer, bearer('key-billing'), 'late-flights')).toMatchObject(named('billing'))
  })

  it('may call its endpoints, also by the name of their model, and gets 403 for others', () => {
    const asBilling = (endpoint: string) => identify(table, elsewhere, bearer('key-billing'), endpoint)
    const billing = { ...named('billing'), endpoints: ['late-flights'] }
    expect(asBilling('late-flights')).toEqual(billing)
    expect(asBilling('late-flight')).toEqual(billing)
    expect(refusal(asBilling('tumour'))).toEqual([
      403,
      undefined,
      `{"error":"Caller 'billing' may not call endpoint 'tumours'."}`,
    ])
  })

  it('has the concurrency that is set for it', () => {
    expect(['clinic', 'billing', 'anonymous'].map((name) => concurrencyOf(table, name))).toEqual([5, null, null])
    expect(concurrencyOf(tableOf({ callers: undefined }), 'clinic')).toBeNull()
  })
})

describe('a key that is not known', () => {
  it.each(['key-stolen', '', digest('key-new')])('is refused with 401, on this machine too: %o', (key) => {
    const answer = [401, 'Bearer error="invalid_token"', '{"error":"The key is not known, or was revoked."}']
    expect(refusal(identify(table, here, bearer(key), 'tumours'))).toEqual(answer)
    expect(refusal(identifyForLabels(table, here, bearer(key)))).toEqual(answer)
  })

  it('is one that was known until the routes revoked it', () => {
    expect(identify(table, here, bearer('key-old'), 'tumours')).toEqual(named('clinic'))
    const revoked = tableOf({ callers: [{ ...clinic, keyDigests: [digest('key-new')] }] })
    expect(refusal(identify(revoked, here, bearer('key-old'), 'tumours'))[0]).toBe(401)
    expect(identify(revoked, here, bearer('key-new'), 'tumours')).toEqual(named('clinic'))
  })

  it('is every key where no caller is known', () => {
    expect(refusal(identify(tableOf({ callers: undefined }), here, bearer('key-old'), 'tumours'))[0]).toBe(401)
  })
})

describe('who sends no key', () => {
  it('is anonymous on this machine, and elsewhere only where the project says so', () => {
    expect(identify(table, here, {}, 'tumours')).toEqual(named('anonymous'))
    expect(identify(tableOf({ anonymous: true }), elsewhere, {}, 'tumours')).toEqual(named('anonymous'))
    expect(refusal(identify(table, elsewhere, {}, 'tumours'))).toEqual([
      401,
      'Bearer',
      `{"error":"Calls from another machine need a key: send 'Authorization: Bearer <key>'."}`,
    ])
  })

  it('is told so where its certificate is nobody’s', () => {
    const [status, , text] = refusal(identify(table, { isLocal: false, commonName: 'x.example' }, {}, 'tumours'))
    expect([status, text.includes(`No caller is known by the certificate of 'x.example'.`)]).toEqual([401, true])
  })

  it('is no other for the credentials of a proxy', () => {
    expect(identify(table, here, { authorization: 'Basic eDp5' }, 'tumours')).toEqual(named('anonymous'))
  })

  it('may send labels from this machine only, whatever the project says', () => {
    const open = tableOf({ anonymous: true })
    expect(identifyForLabels(open, here, {})).toEqual(named('anonymous'))
    expect(identifyForLabels(open, elsewhere, bearer('key-billing'))).toEqual(named('billing'))
    expect(refusal(identifyForLabels(open, elsewhere, {}))).toEqual([
      401,
      'Bearer',
      `{"error":"Labels from another machine need a key: send 'Authorization: Bearer <key>'."}`,
    ])
  })

  it('may read metrics on this machine only, whatever the project says, or known and free to call every endpoint', () => {
    const open = tableOf({ anonymous: true })
    expect(identifyForMetrics(open, here, {})).toEqual(named('anonymous'))
    expect(identifyForMetrics(open, elsewhere, bearer('key-new'))).toEqual(named('clinic'))
    expect(refusal(identifyForMetrics(open, elsewhere, {}))[0]).toBe(401)
    expect(refusal(identifyForMetrics(open, here, bearer('key-stolen')))[0]).toBe(401)
    expect(refusal(identifyForMetrics(open, elsewhere, bearer('key-billing')))).toEqual([
      403,
      undefined,
      `{"error":"Caller 'billing' may not read metrics: it may not call every endpoint."}`,
    ])
  })
})
