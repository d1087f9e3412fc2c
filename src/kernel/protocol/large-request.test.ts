import { describe, expect, it } from 'vitest'
import type { Datatype, Signature } from '../model/signature.ts'
import { ProtocolError } from './errors.ts'
import { parseInferRequest } from './infer-request.ts'
import { OUTLINE_BYTES_MAX, outlineOf } from './json-outline.ts'
import { isLargeJson, LARGE_JSON_BYTES, parseLargeRequest } from './large-request.ts'

const spec = (name: string, datatype: Datatype, shape: number[]) => ({ name, datatype, shape, columns: null })
const signature: Signature = {
  inputs: [spec('x', 'FP32', [-1, 2])],
  outputs: [spec('y', 'FP32', [-1])],
}
const of = (datatype: Datatype, shape: number[]): Signature => ({ ...signature, inputs: [spec('x', datatype, shape)] })

/** In steps, as a server drives it. */
function drain<T>(steps: Generator<undefined, T, undefined>): { made: T; steps: number } {
  for (let count = 1; ; count += 1) {
    const step = steps.next()
    if (step.done === true) return { made: step.value, steps: count }
  }
}

function read(body: Uint8Array | string, known: Signature = signature, jsonBytes: number | null = null) {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const { made, steps } = drain(parseLargeRequest(bytes, known, { jsonBytes }))
  return { request: parseInferRequest(made.json, known, made.form), steps }
}

function failure(read: () => unknown): ProtocolError {
  try {
    read()
  } catch (error) {
    if (error instanceof ProtocolError) return error
    throw error
  }
  return expect.fail('it was read')
}

const body = (input: object, more: object = {}): string =>
  JSON.stringify({ inputs: [{ name: 'x', ...input }], ...more })

describe('a large request', () => {
  const values: Partial<Record<Datatype, unknown[]>> = {
    FP32: [0.1, -1.5e-7, 16_777_217, 0, 3.4e38, 1e-46],
    FP64: [0.1, 1.7976931348623157e308, 5e-324, -0, 123_456_789.123_456_78, 2],
    INT8: [-128, 127, 0, 1, 2, 3],
    UINT16: [65_535, 0, 1, 2, 3, 4],
    INT32: [-2_147_483_648, 2_147_483_647, 0, 1, 2, 3],
    BOOL: [true, false, 1, 0, true, true],
    BYTES: ['', 'a,b', '[1]', 'say "x"\\', 'é\u{1F600}', '}]'],
  }

  it.each(Object.entries(values) as [Datatype, unknown[]][])('of %s is read as a small one is', (datatype, data) => {
    const known = of(datatype, [-1, 2])
    for (const times of [1, 5_000]) {
      const flat = Array.from({ length: times }, () => data).flat()
      const rows = flat.length / 2
      const nested = Array.from({ length: rows }, (_, row) => flat.slice(2 * row, 2 * row + 2))
      for (const given of [flat, nested]) {
        const text = body({ datatype, shape: [rows, 2], data: given })
        const { request } = read(text, known)
        expect(request.inputs['x']!.data).toEqual(parseInferRequest(Buffer.from(text), known).inputs['x']!.data)
        expect(request.rows).toBe(rows)
      }
    }
  })

  it('keeps every digit of 64-bit integers', () => {
    const text = `{"inputs":[{"name":"x","datatype":"INT64","shape":[2],"data":[9007199254740993,-9223372036854775808]}]}`
    expect(read(text, of('INT64', [-1])).request.inputs['x']!.data).toEqual(
      new BigInt64Array([9007199254740993n, -9223372036854775808n]),
    )
  })

  it.each([
    ['9223372036854775808', 'value 1 is 9223372036854775808'],
    ['-92233720368547758080', 'value 1 is -92233720368547758080'],
    ['123456789012345678901234', 'value 1 is 1.234567890123456'],
    ['"9007199254740993"', 'value 1 is "9007199254740993"'],
    ['09007199254740993', 'not valid JSON'],
  ])('refuses %s among 64-bit integers beyond 2^53', (value, why) => {
    const text = `{"inputs":[{"name":"x","datatype":"INT64","shape":[2],"data":[9007199254740993,${value}]}]}`
    const error = failure(() => read(text, of('INT64', [-1])))
    expect(error.status).toBe(400)
    expect(error.message).toContain(why)
  })

  it('may be spaced as it likes, and name its members in any order', () => {
    const text = `\n{ "id" : "a" , "inputs" : [ { "data" : [ [ 1 , 2 ] ,\n [ 3 , 4 ] ] , "shape" : [ 2 , 2 ] , "datatype" : "FP32" , "name" : "x" } ] , "parameters" : { "timeout" : 5 , "data" : [ 1 ] } } `
    const { request } = read(text)
    expect(request.inputs['x']!.data).toEqual(new Float32Array([1, 2, 3, 4]))
    expect(request).toMatchObject({ id: 'a', timeoutMicros: 5, parameters: { data: [1] } })
  })

  it('finds data by its place, whatever else has that name and however it is written', () => {
    const inner = { data: [9], inputs: [{ data: [8] }] }
    const text = `{"x":"\\"inputs\\":[{\\"data\\":[","inputs":[{"parameters":${JSON.stringify(inner)},"d\\u0061ta":[1,2],"name":"x","shape":[1,2],"datatype":"FP32"}]}`
    expect(read(text).request.inputs['x']!.data).toEqual(new Float32Array([1, 2]))
  })

  it('has several inputs, and bytes of others behind its JSON', () => {
    const known = { ...signature, inputs: [spec('x', 'FP32', [-1, 2]), spec('z', 'INT64', [-1])] }
    const json = JSON.stringify({
      inputs: [
        { name: 'z', datatype: 'INT64', shape: [1], parameters: { binary_data_size: 8 } },
        { name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 2] },
      ],
    })
    const bytes = Buffer.concat([Buffer.from(json), Buffer.from(new BigInt64Array([5n]).buffer)])
    const { request } = read(bytes, known, json.length)
    expect(request.inputs['z']!.data).toEqual(new BigInt64Array([5n]))
    expect(request.inputs['x']!.data).toEqual(new Float32Array([1, 2]))
  })

  it('takes FP32 for an input of FP64 with all digits', () => {
    const text = body({ datatype: 'FP32', shape: [1], data: [0.1] })
    expect(read(text, of('FP64', [-1])).request.inputs['x']!.data).toEqual(new Float64Array([0.1]))
  })

  it('is read in steps, of text as well', () => {
    const numbers = body({ datatype: 'FP32', shape: [100_000, 2], data: Array(200_000).fill(0.123_456_7) })
    expect(read(numbers).steps).toBeGreaterThan(20)
    const text = body({ datatype: 'BYTES', shape: [1], data: ['x'.repeat(5_000_000)] })
    expect(read(text, of('BYTES', [-1])).steps).toBeGreaterThan(4)
  })

  const x = (rest: object) => body({ datatype: 'FP32', shape: [2, 2], ...rest })
  it.each<[string, string, string]>([
    ['too few values', x({ data: [1, 2, 3] }), `takes 4 values, but 'data' has`],
    ['too many', x({ data: [1, 2, 3, 4, 5] }), `takes 4 values, but 'data' has more`],
    ['more than can be there', x({ shape: [1e9, 2], data: [1, 2] }), `takes 2000000000 values, but 'data' has fewer`],
    ['rows of other sizes', x({ data: [[1, 2, 3], [4]] }), 'axis 1 has 3 items'],
    ['too few rows', x({ data: [[1, 2]] }), 'takes 4 values'],
    [
      'too many rows',
      x({
        data: [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
      }),
      'axis 0 has 3 items',
    ],
    ['a row that is none', x({ data: [[1, 2], 3] }), 'it is nested unevenly'],
    ['a row among values', x({ data: [1, [2, 3, 4]] }), `Input 'x'`],
    ['deeper nesting', x({ data: [[[1, 2]], [[3, 4]]] }), 'it is nested deeper than 2'],
    ['no values in a row', x({ data: [[], []] }), `Input 'x'`],
    ['a text', x({ data: [1, 'a', 3, 4] }), `value 1 is "a", which is not a number that FP32 can hold`],
    ['an object', x({ data: [1, { a: [1] }, 3, 4] }), 'value 1 is an object'],
    ['null', x({ data: [1, null, 3, 4] }), 'value 1 is null'],
    ['a number beyond the type', x({ data: [1, 2, 3, 1e39] }), 'value 3 is 1e+39'],
    ['data that is no list', x({ data: 5 }), `'data' must be an array`],
    ['no data', x({}), `'data' is missing`],
    ['an unknown input', JSON.stringify({ inputs: [{ name: 'z', data: [1] }] }), `Unknown input 'z'`],
    ['another type', body({ datatype: 'INT64', shape: [1, 2], data: [1, 2] }), 'datatype is INT64'],
    ['another shape', body({ datatype: 'FP32', shape: [1, 3], data: [1, 2, 3] }), 'shape [1, 3]'],
    ['a shape that is none', body({ datatype: 'FP32', shape: [-1, 2], data: [1, 2] }), `'shape' must hold integers`],
    ['no inputs', '{"inputs":5}', `'inputs' must be an array`],
    ['no object', '[1]', 'must be a JSON object'],
  ])('is refused for %s', (_what, text, why) => {
    const error = failure(() => read(text))
    expect(error.status).toBe(400)
    expect(error.message).toContain(why)
  })

  it('says which value is wrong far behind the first part', () => {
    const data: unknown[] = Array(200_000).fill(1)
    data[150_001] = 'a'
    const error = failure(() => read(body({ datatype: 'FP32', shape: [100_000, 2], data })))
    expect(error.message).toContain('value 150001 is "a"')
  })

  const list = (data: string) => `{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":${data}}]}`
  it.each([
    '[1,2,3,4',
    '[1,2,3,4,]',
    '[,1,2,3,4]',
    '[1,2,,3,4]',
    '[1 2,3,4]',
    '[[1,2],[3,4]',
    '[[1,2],[3,4]]]',
    '[[1,2][3,4]]',
    '[[1,2],,[3,4]]',
    '[[1,2],[3,4],]',
    '[01,2,3,4]',
    '[1,2,3,4]x',
    '[1,2,3,NaN]',
    '[1,2,3,\u00c3]',
    ']',
    '[',
  ])('is refused where it is no JSON: %s', (data) => {
    const text = list(data)
    expect(() => JSON.parse(text) as unknown).toThrow(SyntaxError)
    expect(failure(() => read(text)).status).toBe(400)
  })

  it('is refused where a list ends in a comma between two parts', () => {
    const count = 32_769 // the first part ends at the first comma behind 64 KiB
    const text = list(`[${'1,'.repeat(count)}]`).replace('[2,2]', `[${count}]`)
    expect(failure(() => read(text, of('FP32', [-1]))).message).toContain('a value is missing')
  })

  it('is refused for bytes that are no UTF-8, in text and beside it', () => {
    const known = of('BYTES', [-1])
    const bad = (text: string) => {
      const bytes = Buffer.from(text)
      bytes[bytes.indexOf('#')] = 0xff
      return failure(() => read(bytes, known)).message
    }
    expect(bad(body({ datatype: 'BYTES', shape: [1], data: ['#'] }))).toContain('not valid UTF-8')
    expect(bad(body({ datatype: 'BYTES', shape: [1], data: ['a'] }, { id: '#' }))).toContain('not valid UTF-8')
  })

  it('may not say too much beside its data', () => {
    const long = body({ datatype: 'FP32', shape: [1, 2], data: [1, 2] }, { parameters: { a: 'x'.repeat(2_000_000) } })
    expect(failure(() => read(long))).toMatchObject({ status: 413 })
    const many = `{"inputs":[${'{"name":"x","data":[1]},'.repeat(OUTLINE_BYTES_MAX / 8)}{}]}`
    expect(failure(() => read(many))).toMatchObject({ status: 413 })
  })

  it('is what has so many bytes of JSON, whatever follows them', () => {
    expect(isLargeJson(Buffer.alloc(LARGE_JSON_BYTES), null)).toBe(true)
    expect(isLargeJson(Buffer.alloc(LARGE_JSON_BYTES - 1), null)).toBe(false)
    expect(isLargeJson(Buffer.alloc(LARGE_JSON_BYTES), 100)).toBe(false)
    expect(isLargeJson(Buffer.alloc(LARGE_JSON_BYTES), 0)).toBe(false)
    expect(isLargeJson(Buffer.alloc(10), LARGE_JSON_BYTES)).toBe(false)
  })

  it('is read as JSON.parse reads it, wherever it is cut and changed', () => {
    // Of 3,000 requests with one byte changed, each is read by both ways or by none, with the same values.
    const texts = [list('[[1.5,2],[-3e2,4]]'), list('[1,2,3,4]'), list('[ 1 ,2,3,\n4 ]')]
    const letters = '[]{},:"\\ 019.-eE+nxt'
    let seed = 7
    const random = (below: number): number => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) % below
    let both = 0
    for (let round = 0; round < 3_000; round += 1) {
      const text = texts[round % texts.length]!
      const at = random(text.length)
      const changed = text.slice(0, at) + letters[random(letters.length)]! + text.slice(at + random(2))
      const plain = outcome(() => parseInferRequest(Buffer.from(changed), signature))
      const stepped = outcome(() => read(changed).request)
      expect({ changed, made: stepped }).toEqual({ changed, made: plain })
      if (plain !== 400) both += 1
    }
    expect(both).toBeGreaterThan(50)
  })
})

function outcome(read: () => { inputs: object }): object | number {
  try {
    return read().inputs
  } catch (error) {
    if (error instanceof ProtocolError) return error.status
    throw error
  }
}

describe('the outline of a large request', () => {
  it('is all but the data of its inputs', () => {
    const text = body({ datatype: 'FP32', shape: [2], data: [1, 2] }, { id: 'a' })
    const { made } = drain(outlineOf(Buffer.from(text)))
    expect(JSON.parse(made.text)).toEqual({ id: 'a', inputs: [{ name: 'x', datatype: 'FP32', shape: [2], data: [0] }] })
    expect(made.lists.map(({ from, to }) => text.slice(from, to))).toEqual(['[1,2]'])
  })
})
