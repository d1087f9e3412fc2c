import { describe, expect, it } from 'vitest'
import { clientTimeoutMs } from './client-deadline.ts'
import { requestParameter, requestPriority } from './request-parameter.ts'

const json = (value: unknown) => ({ body: Buffer.from(JSON.stringify(value)), jsonBytes: null })
const data = (count: number) => [
  { name: 'x', datatype: 'FP32', shape: [count], data: Array.from({ length: count }, () => 0.5) },
]
const said = (parameters: unknown, count = 2) => json({ id: 'a', parameters, inputs: data(count) })
const saidLast = (parameters: unknown, count = 2) => json({ inputs: data(count), parameters, outputs: [{ name: 'y' }] })

describe('a parameter of a request', () => {
  it('is found before the inputs and behind them', () => {
    expect(requestParameter(said({ timeout: 5_000 }), 'timeout')).toBe(5_000)
    expect(requestParameter(saidLast({ binary_data_output: true, timeout: 5_000 }), 'timeout')).toBe(5_000)
  })

  it.each([1_000, 100_000])('is found on both sides of %d numbers', (count) => {
    expect(requestParameter(said({ a: { b: '}' }, timeout: 7 }, count), 'timeout')).toBe(7)
    expect(requestParameter(saidLast({ timeout: 8, c: '{' }, count), 'timeout')).toBe(8)
  })

  it('is that of the JSON, not of the tensors behind it', () => {
    const head = Buffer.from(JSON.stringify({ inputs: data(1) }))
    const body = Buffer.concat([head, Buffer.from('{"parameters":{"timeout":5}}')])
    expect(requestParameter({ body, jsonBytes: head.length }, 'timeout')).toBeUndefined()
    expect(requestParameter({ body, jsonBytes: 0 }, 'timeout')).toBeUndefined()
  })

  it.each<[string, unknown]>([
    ['an input of that name', { inputs: [{ name: 'timeout', datatype: 'FP32', shape: [1], data: [1] }] }],
    ['a parameter of an input', { inputs: [{ name: 'x', parameters: { timeout: 5 } }] }],
    ['a text that says so', { inputs: [{ name: 'x', data: ['"parameters":{"timeout":5}'] }] }],
    ['parameters that are no object', { parameters: 'timeout', timeout: 5 }],
    ['null', null],
  ])('is not %s', (_what, value) => {
    expect(requestParameter(json(value), 'timeout')).toBeUndefined()
  })

  it('is not looked for in what is no JSON', () => {
    const body = Buffer.from('{"parameters":{"timeout":5')
    expect(requestParameter({ body, jsonBytes: null }, 'timeout')).toBeUndefined()
    const long = Buffer.from(`{"parameters":{"timeout":5${' '.repeat(300_000)}`)
    expect(requestParameter({ body: long, jsonBytes: null }, 'timeout')).toBeUndefined()
  })

  it('is that of the request, not of an input, in large requests as well', () => {
    const inner = [{ name: 'x', parameters: { timeout: 5 }, data: Array.from({ length: 100_000 }, () => 0.5) }]
    expect(requestParameter(json({ inputs: inner }), 'timeout')).toBeUndefined()
    const last = [{ name: 'x', data: Array.from({ length: 100_000 }, () => 0.5), parameters: { timeout: 5 } }]
    expect(requestParameter(json({ inputs: last }), 'timeout')).toBeUndefined()
  })

  it('is found between the inputs and whatever else, however far from either end', () => {
    const filler = { note: 'x'.repeat(300_000) }
    const middle = json({ inputs: data(100_000), parameters: { timeout: 9, ...filler }, more: filler })
    expect(requestParameter(middle, 'timeout')).toBe(9)
    expect(
      requestPriority(json({ inputs: data(100_000), parameters: { priority: 3 }, outputs: [{ name: 'y' }] })),
    ).toBe(3)
  })

  it('is not looked for behind more texts than are read at one go, nor in too much that is no data', () => {
    const texts = [{ name: 'x', datatype: 'BYTES', shape: [1], data: ['x'.repeat(6_000_000)] }]
    expect(requestParameter(json({ inputs: texts, parameters: { timeout: 5 } }), 'timeout')).toBeUndefined()
    expect(requestParameter(json({ parameters: { timeout: 5 }, inputs: texts }), 'timeout')).toBe(5)
    const note = 'x'.repeat(2_000_000)
    expect(requestParameter(json({ note, parameters: { timeout: 5 }, inputs: data(2) }), 'timeout')).toBeUndefined()
    expect(requestParameter(json({ parameters: { timeout: 5 }, note, inputs: data(2) }), 'timeout')).toBe(5)
  })

  it('is read as written, letters beyond Latin among it', () => {
    expect(requestParameter(said({ 'sensor ü': 'groß' }), 'sensor ü')).toBe('groß')
    expect(requestParameter(said({ 'sensor ü': 'groß' }, 100_000), 'sensor ü')).toBe('groß')
  })
})

describe('the priority of a request', () => {
  it.each<[unknown, number]>([
    [undefined, 1],
    [0, 1],
    [1, 1],
    [7, 7],
    [-3, 1],
    ['9', 1],
  ])('%o counts as %d', (priority, counts) => {
    expect(requestPriority(said({ priority }))).toBe(counts)
  })
})

describe('what a client gives its request', () => {
  const call = (fields: { parameter?: unknown; header?: string; timeoutMs?: number | null }) => ({
    ...said({ timeout: fields.parameter }),
    headers: fields.header === undefined ? {} : { 'x-request-timeout-ms': fields.header },
    timeoutMs: fields.timeoutMs,
  })

  it('is nothing unless it says so', () => {
    expect(clientTimeoutMs(call({}))).toBeNull()
    expect(clientTimeoutMs({ ...json({ inputs: [] }), headers: {} })).toBeNull()
  })

  it('is in microseconds as a parameter, in milliseconds in the header, and the shortest counts', () => {
    expect(clientTimeoutMs(call({ parameter: 250_000 }))).toBe(250)
    expect(clientTimeoutMs(call({ header: '300' }))).toBe(300)
    expect(clientTimeoutMs(call({ timeoutMs: 80, header: '300', parameter: 250_000 }))).toBe(80)
    expect(clientTimeoutMs(call({ timeoutMs: 800, header: '300', parameter: 250_000 }))).toBe(250)
  })

  it.each([
    { parameter: 0 },
    { parameter: -5 },
    { parameter: '250' },
    { header: 'soon' },
    { header: '-1' },
    { timeoutMs: 0 },
  ])('is nothing where it is no time: %o', (fields) => {
    expect(clientTimeoutMs(call(fields))).toBeNull()
  })
})
