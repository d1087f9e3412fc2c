import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  endingSoon,
  isPinned,
  keyDigest,
  keyHint,
  keyOf,
  nextKeyEndMs,
  routedCallers,
  routedPins,
  type Caller,
  type CallerPin,
} from './caller.ts'

const DAY_MS = 86_400_000

describe('a key', () => {
  const key = keyOf(Uint8Array.from({ length: 32 }, (_, i) => i))

  it('begins so that it is found where it does not belong, and has all of its 32 bytes', () => {
    expect(key).toMatch(/^millrace_[A-Za-z0-9_-]{43}$/)
    expect(keyOf(new Uint8Array(32))).not.toBe(key)
    expect(() => keyOf(new Uint8Array(16))).toThrow('a key is made of 32 bytes, not 16')
  })

  it('is stored as its digest and four of its letters', () => {
    expect(keyDigest(key)).toBe(createHash('sha256').update(key).digest('hex'))
    expect(keyHint(key)).toBe('millrace_AAEC…')
  })
})

describe('what gateways are told', () => {
  it('are those who may call, with the keys that work, in a stable order', () => {
    const callers = [
      callerOf({ name: 'b', endpoints: ['m'], concurrency: 5 }),
      callerOf({ name: 'gone', revoked: { atMs: 1, by: 'ann', why: 'lost' } }),
      callerOf({ name: 'a', commonNames: ['a.example'], keys: [keyWith('old', 50), keyWith('new', null)] }),
    ]
    expect(routedCallers(callers, 49).map(({ name, keyDigests }) => [name, keyDigests])).toEqual([
      ['a', ['old', 'new']],
      ['b', ['digest']],
    ])
    expect(routedCallers(callers, 50)[0]).toEqual({
      name: 'a',
      keyDigests: ['new'],
      commonNames: ['a.example'],
      endpoints: null,
      concurrency: null,
    })
    expect(routedCallers(callers, 0)[1]).toMatchObject({ endpoints: ['m'], concurrency: 5 })
  })

  it('changes when the next key ends', () => {
    const callers = [callerOf({ keys: [keyWith('x', 90), keyWith('y', null)] }), callerOf({ keys: [keyWith('z', 60)] })]
    expect(nextKeyEndMs(callers, 50)).toBe(10)
    expect(nextKeyEndMs(callers, 60)).toBe(30)
    expect(nextKeyEndMs(callers, 90)).toBe(null)
  })

  it('leaves out pins on other endpoints, and those whose version is not deployed', () => {
    const pins = [
      pinOf({ caller: 'a' }),
      pinOf({ caller: 'b', endpoint: 'other' }),
      pinOf({ caller: 'c', versionId: 'm@9' }),
    ]
    const deploymentOf = (versionId: string) => (versionId === 'm@1' ? 'deployment-1' : null)
    expect(routedPins(pins, 'm', deploymentOf)).toEqual([
      { caller: 'a', deploymentId: 'deployment-1', expiresAtMs: 30 * DAY_MS },
    ])
  })
})

it('ends a pin at its time, and says so a week before', () => {
  const pin = pinOf()
  expect([0, 23, 29, 30].map((day) => isPinned(pin, day * DAY_MS))).toEqual([true, true, true, false])
  expect([0, 23, 24, 29, 30].map((day) => endingSoon([pin], day * DAY_MS).length)).toEqual([0, 0, 1, 1, 0])
})

const keyWith = (digest: string, endsAtMs: number | null) => ({
  digest,
  hint: 'millrace_AAAA…',
  createdBy: 'ann',
  createdAtMs: 0,
  endsAtMs,
})

function callerOf(overrides: Partial<Caller> = {}): Caller {
  return {
    name: 'a',
    endpoints: null,
    commonNames: [],
    concurrency: null,
    keys: [keyWith('digest', null)],
    createdBy: 'ann',
    createdAtMs: 0,
    revoked: null,
    requests: 0,
    lastCalendarMs: null,
    ...overrides,
  }
}

function pinOf(overrides: Partial<CallerPin> = {}): CallerPin {
  const facts = { caller: 'a', endpoint: 'm', versionId: 'm@1', pinnedBy: 'ann', why: null }
  return { ...facts, pinnedAtMs: 0, expiresAtMs: 30 * DAY_MS, ...overrides }
}
