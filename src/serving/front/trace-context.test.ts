import { describe, expect, it } from 'vitest'
import { hopOf, newTrace, parseTraceparent, traceHeaders, traceText } from './trace-context.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const valid = `00-${TRACE}-${SPAN}-01`

describe('traceparent', () => {
  it('says whose trace a request belongs to, and whether that is sampled', () => {
    expect(parseTraceparent(valid)).toEqual({ traceId: TRACE, spanId: SPAN, flags: '01' })
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-00`)?.flags).toBe('00')
  })

  it('keeps of the flags only the one that is known', () => {
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-ff`)?.flags).toBe('01')
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-02`)?.flags).toBe('00')
  })

  it('may be of a later version, which says more', () => {
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-01-what-the-future-will-be-like`)?.traceId).toBe(TRACE)
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-01`)?.spanId).toBe(SPAN)
  })

  it.each([
    ['nothing', ''],
    ['upper case', valid.toUpperCase()],
    ['no trace', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['no parent', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['a forbidden version', `ff-${TRACE}-${SPAN}-01`],
    ['more than this version says', `${valid}-extra`],
    ['a short id', `00-${TRACE.slice(1)}-${SPAN}-01`],
    ['letters that are no digits', `00-${TRACE.replace('4', 'g')}-${SPAN}-01`],
    ['a later version with more and no dash', `cc-${TRACE}-${SPAN}-01.extra`],
    ['two of them', `${valid}, ${valid}`],
  ])('is not read where it is %s', (_what, header) => {
    expect(parseTraceparent(header)).toBeNull()
  })
})

describe('a hop', () => {
  it('keeps trace, sampling and state, and has a span of its own', () => {
    const hop = hopOf(valid, 'rojo=1,congo=2')
    expect(hop).toMatchObject({ traceId: TRACE, flags: '01', state: 'rojo=1,congo=2' })
    expect(hop.spanId).toMatch(/^[0-9a-f]{16}$/)
    expect(hop.spanId).not.toBe(SPAN)
    expect(hopOf(valid, undefined).spanId).not.toBe(hop.spanId)
    expect(traceHeaders(hop)).toEqual({ traceparent: `00-${TRACE}-${hop.spanId}-01`, tracestate: 'rojo=1,congo=2' })
  })

  it('begins a new trace where it can not read what came, and forgets its state', () => {
    const hop = hopOf('garbage', 'rojo=1')
    expect(hop.traceId).toMatch(/^[0-9a-f]{32}$/)
    expect(hop).toMatchObject({ flags: '00', state: null })
    expect(parseTraceparent(traceText(hop))).toEqual({ traceId: hop.traceId, spanId: hop.spanId, flags: '00' })
  })

  it('drops a state that is too long to be carried on', () => {
    expect(hopOf(valid, 'a=1,'.repeat(200)).state).toBeNull()
    expect(hopOf(valid, '  ').state).toBeNull()
  })

  it('never begins the same trace twice', () => {
    expect(new Set(Array.from({ length: 1_000 }, () => newTrace().traceId)).size).toBe(1_000)
  })
})
