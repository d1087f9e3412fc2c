import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { numberToHalf } from '../model/float16.ts'
import type { Datatype, Signature } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import {
  encodeInferRequestBody,
  encodeRequestOfBytes,
  jsonBytesOf,
  parseInferRequest,
  ProtocolError,
} from './inference.ts'
import { outcomeOf } from '../../testing/protocol-outcome.ts'

/*
 * The numbers are those of the rules that a POST of an infer request must follow: 2 all of the JSON counts, 3 binary and
 * raw tensors, 4 their sizes, 5 which outputs are binary, 7 what is tolerated, 8 what is echoed, 9 half floats, 10 exact
 * and infinite numbers, 11 shapes, 12 parameters. Rules 1 and 6, of headers and compression, are the front's.
 */

const tensor = (name: string, datatype: Datatype, shape: number[]) => ({ name, datatype, shape, columns: null })
const takes = (...inputs: ReturnType<typeof tensor>[]): Signature => ({
  inputs,
  outputs: [tensor('y', 'FP32', [-1]), tensor('z', 'INT64', [-1])],
})
const floats = takes(tensor('x', 'FP32', [-1, 2]))

/** A request as a client would write it: `pad` spaces behind the JSON move the tensors to any alignment. */
function request(json: object, bytes: Uint8Array, pad = 0): { body: Buffer; jsonBytes: number } {
  const head = Buffer.from(JSON.stringify(json) + ' '.repeat(pad))
  return { body: Buffer.concat([head, bytes]), jsonBytes: head.length }
}

const input = (name: string, datatype: string, shape: number[], size: number, change: object = {}) => ({
  name,
  datatype,
  shape,
  parameters: { binary_data_size: size },
  ...change,
})

const parse = ({ body, jsonBytes }: { body: Buffer; jsonBytes: number | null }, signature = floats) =>
  parseInferRequest(body, signature, { jsonBytes })

function refusal(sent: { body: Buffer; jsonBytes: number | null }, signature = floats): string {
  try {
    parse(sent, signature)
  } catch (error) {
    if (error instanceof ProtocolError && error.status === 400) return error.message
    throw error
  }
  throw new Error('it was accepted')
}

const f32 = (...values: number[]) => Buffer.from(Float32Array.of(...values).buffer)

describe('rule 2: the whole JSON counts, also what follows the inputs', () => {
  it('finds binary_data_output behind them', () => {
    const json = { inputs: [input('x', 'FP32', [1, 2], 8)], parameters: { binary_data_output: true } }
    expect(parse(request(json, f32(1, 2))).binaryOutputs).toEqual(new Set(['y', 'z']))
  })
})

describe('rule 3: binary tensors follow the JSON in the order of the inputs', () => {
  it('reads every type, little-endian and row-major, at every alignment', () => {
    const cases: [Datatype, Tensor['data'], number[]][] = [
      ['BOOL', Uint8Array.of(1, 0, 1, 1), [2, 2]],
      ['UINT8', Uint8Array.of(0, 255), [2, 1]],
      ['UINT16', Uint16Array.of(0, 65_535), [1, 2]],
      ['UINT32', Uint32Array.of(1, 2 ** 32 - 1), [2, 1]],
      ['UINT64', BigUint64Array.of(1n, 2n ** 64n - 1n), [2, 1]],
      ['INT8', Int8Array.of(-128, 127), [2, 1]],
      ['INT16', Int16Array.of(-32_768, 32_767), [2, 1]],
      ['INT32', Int32Array.of(-1, 7), [2, 1]],
      ['INT64', BigInt64Array.of(-(2n ** 63n), 9_007_199_254_740_993n), [2, 1]],
      ['FP16', Uint16Array.of(numberToHalf(0.5), 0x7c00), [2, 1]],
      ['FP32', Float32Array.of(0.1, NaN, -Infinity, -0), [2, 2]],
      ['FP64', Float64Array.of(0.1, 1e300), [2, 1]],
      ['BYTES', ['Zürich 😀', '', 'a,b'], [3, 1]],
    ]
    for (const [datatype, data, shape] of cases) {
      for (let pad = 0; pad < 8; pad += 1) {
        const x: Tensor = { datatype, shape, data }
        const sent = encodeInferRequestBody({ inputs: { x } }, { binaryInputs: 'all' })
        const moved = Buffer.concat([
          sent.body.subarray(0, sent.jsonBytes!),
          Buffer.alloc(pad, ' '),
          sent.body.subarray(sent.jsonBytes!),
        ])
        const read = parse({ body: moved, jsonBytes: sent.jsonBytes! + pad }, takes(tensor('x', datatype, [-1, -1])))
        expect(read.inputs.x).toEqual(x)
        expect(read.rows).toBe(shape[0])
      }
    }
  })

  it('has the bytes that other clients write: numpy of [[1.5, -2]] as float32, and ["ab", "é"] as BYTES', () => {
    const bytes = Buffer.from('0000c03f000000c0' + '020000006162' + '02000000c3a9', 'hex')
    const signature = takes(tensor('x', 'FP32', [-1, 2]), tensor('s', 'BYTES', [-1, 2]))
    const json = { inputs: [input('x', 'FP32', [1, 2], 8), input('s', 'BYTES', [1, 2], 12)] }
    const { inputs } = parse(request(json, bytes), signature)
    expect(inputs.x!.data).toEqual(Float32Array.of(1.5, -2))
    expect(inputs.s!.data).toEqual(['ab', 'é'])
  })

  it('goes by the order of the request, not by that of the model, and mixes with JSON', () => {
    const signature = takes(tensor('a', 'INT8', [-1]), tensor('b', 'INT8', [-1]), tensor('c', 'INT8', [-1]))
    const inJson = { name: 'c', datatype: 'INT8', shape: [1], data: [9] }
    const json = { inputs: [input('b', 'INT8', [1], 1), inJson, input('a', 'INT8', [1], 1)] }
    const { inputs } = parse(request(json, Buffer.of(2, 1)), signature)
    expect([inputs.a!.data[0], inputs.b!.data[0], inputs.c!.data[0]]).toEqual([1, 2, 9])
  })

  it('does not copy what lies aligned, and copies once what does not', () => {
    const values = new Float32Array(1_000)
    const json = { inputs: [input('x', 'FP32', [500, 2], 4_000)] }
    const views = Array.from({ length: 4 }, (_, pad) => {
      const sent = request(json, Buffer.from(values.buffer), pad)
      return { inPlace: (parse(sent).inputs.x!.data as Float32Array).buffer === sent.body.buffer, sent }
    })
    expect(views.filter(({ inPlace }) => inPlace)).toHaveLength(1)
    const aligned = encodeInferRequestBody(
      { inputs: { x: { datatype: 'FP32', shape: [500, 2], data: values } } },
      { binaryInputs: 'all' },
    )
    expect((parse(aligned).inputs.x!.data as Float32Array).buffer).toBe(aligned.body.buffer)
  })

  it('takes the length of the JSON from its header, and nothing out of range', () => {
    expect(jsonBytesOf(undefined, 10)).toBeNull()
    expect([jsonBytesOf('0', 10), jsonBytesOf(' 10 ', 10)]).toEqual([0, 10])
    for (const header of ['11', '-1', '1.5', 'abc', '', '0x1', '1e3', '9'.repeat(30)])
      expect(() => jsonBytesOf(header, 10)).toThrow(expect.objectContaining({ status: 400 }))
    for (const jsonBytes of [-1, 9, 1.5, Number.NaN])
      expect(refusal({ body: Buffer.from('{}'), jsonBytes })).toMatch(/JSON/)
  })

  it('refuses JSON that is cut by its own length', () => {
    const sent = request({ inputs: [input('x', 'FP32', [1, 2], 8)] }, f32(1, 2))
    expect(refusal({ ...sent, jsonBytes: sent.jsonBytes - 1 })).toContain('not valid JSON')
  })
})

describe('rule 3: a raw request is the tensor alone', () => {
  const raw = (bytes: Uint8Array) => ({ body: Buffer.from(bytes), jsonBytes: 0 })

  it('has the rows that its bytes give, and wants all outputs as bytes', () => {
    const { inputs, rows, outputs, binaryOutputs } = parse(raw(f32(1, 2, 3, 4)))
    expect(inputs.x).toEqual({ datatype: 'FP32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) })
    expect([rows, outputs, binaryOutputs]).toEqual([2, null, new Set(['y', 'z'])])
  })

  it('finds the one dynamic axis wherever it is', () => {
    const signature = takes(tensor('x', 'INT16', [1, -1, 2]))
    expect(parse(raw(Buffer.alloc(12)), signature).inputs.x!.shape).toEqual([1, 3, 2])
  })

  it('is one element for BYTES, without a length before it', () => {
    expect(parse(raw(Buffer.from('Grüße')), takes(tensor('x', 'BYTES', [-1, 1]))).inputs.x).toEqual({
      datatype: 'BYTES',
      shape: [1, 1],
      data: ['Grüße'],
    })
    expect(refusal(raw(Buffer.from('a')), takes(tensor('x', 'BYTES', [-1, 2])))).toContain('one element of BYTES')
    expect(refusal(raw(Buffer.of(0xff)), takes(tensor('x', 'BYTES', [-1])))).toContain('not valid UTF-8')
  })

  it('may be empty', () => {
    expect(parse(raw(Buffer.alloc(0)))).toMatchObject({ rows: 0 })
  })

  it.each<[string, Signature, number, string]>([
    [
      'two inputs',
      takes(tensor('a', 'FP32', [-1]), tensor('b', 'FP32', [-1])),
      8,
      `models with one input; this one takes 'a', 'b'`,
    ],
    ['two dynamic axes', takes(tensor('x', 'FP32', [-1, -1])), 8, 'more than one dynamic axis'],
    ['bytes that are no whole rows', floats, 12, 'no multiple of the 8'],
    ['bytes that are no whole values', floats, 7, 'no multiple of the 8'],
    ['too many bytes for a fixed shape', takes(tensor('x', 'FP32', [1, 2])), 16, 'takes 8 bytes, not 16'],
    ['too few bytes for a fixed shape', takes(tensor('x', 'FP32', [1, 2])), 0, 'takes 8 bytes, not 0'],
  ])('is refused for %s', (_what, signature, size, says) => {
    expect(refusal(raw(Buffer.alloc(size)), signature)).toContain(says)
  })
})

describe('rule 4: exactly one of data and binary_data_size, and exactly its bytes', () => {
  it('takes binary_data_size 0, with the header and without', () => {
    const json = { inputs: [input('x', 'FP32', [0, 2], 0)] }
    expect(parse(request(json, Buffer.alloc(0)))).toMatchObject({ rows: 0 })
    expect(parse({ body: Buffer.from(JSON.stringify(json)), jsonBytes: null })).toMatchObject({ rows: 0 })
    const texts = { inputs: [input('x', 'BYTES', [0], 0)] }
    expect(parse(request(texts, Buffer.alloc(0)), takes(tensor('x', 'BYTES', [-1]))).inputs.x!.data).toEqual([])
  })

  const two = (size: unknown, change: object = {}) => ({
    inputs: [{ ...input('x', 'FP32', [1, 2], 0, change), parameters: { binary_data_size: size } }],
  })

  it.each<[string, object, Uint8Array, string]>([
    ['both are there', two(8, { data: [1, 2] }), f32(1, 2), `both 'data' and 'binary_data_size'`],
    ['both are there, and one is 0', two(0, { data: [1, 2] }), f32(), `both 'data' and 'binary_data_size'`],
    ['neither is', { inputs: [input('x', 'FP32', [1, 2], 0, { parameters: {} })] }, f32(), `'data' is missing`],
    ['both are null', two(null, { data: null }), f32(), `'data' is missing`],
    ['bytes are left over', two(8), f32(1, 2, 3), '4 bytes follow the JSON that no input'],
    ['bytes follow though all is JSON', two(null, { data: [1, 2] }), f32(1), '4 bytes follow the JSON'],
    ['bytes are missing', two(8), f32(1), `'binary_data_size' is 8, but 4 bytes are left`],
    ['the size is not that of the shape', two(4), f32(1), 'takes 8 bytes, not 4'],
    ['the size is larger than the shape', two(12), f32(1, 2, 3), 'takes 8 bytes, not 12'],
    ['the size is negative', two(-8), f32(1, 2), 'whole number of at least 0'],
    ['the size is broken', two(7.5), f32(1, 2), 'whole number of at least 0'],
    ['the size is text', two('8'), f32(1, 2), 'whole number of at least 0'],
    ['the size is beyond measure', two(1e300), f32(1, 2), 'whole number of at least 0'],
    [
      'parameters are a list',
      { inputs: [input('x', 'FP32', [1, 2], 8, { parameters: [8] })] },
      f32(1, 2),
      `'parameters'`,
    ],
    [
      'the tensor is in shared memory',
      { inputs: [input('x', 'FP32', [1, 2], 8, { parameters: { shared_memory_region: 'r' } })] },
      f32(),
      'shared memory is not supported',
    ],
  ])('is refused where %s', (_when, json, bytes, says) => {
    expect(refusal(request(json, bytes))).toContain(says)
  })

  it('says what is missing where the header is', () => {
    const json = two(8)
    expect(refusal({ body: Buffer.from(JSON.stringify(json)), jsonBytes: null })).toContain(
      'Inference-Header-Content-Length',
    )
  })

  const texts = (hex: string) => {
    const bytes = Buffer.from(hex, 'hex')
    return request({ inputs: [input('x', 'BYTES', [2], bytes.length)] }, bytes)
  }
  it.each<[string, string, string]>([
    ['too few bytes for two lengths', '00000000' + '0000', 'at least 8 bytes, not 6'],
    [
      'an element longer than what is left',
      '01000000' + '61' + '02000000' + '61',
      'element 1 has 2 bytes by its length, but 1',
    ],
    ['a length beyond all measure', 'ffffffff' + '61626364', 'element 0 has 4294967295 bytes'],
    ['bytes behind the last', '01000000' + '61' + '00000000' + '61', '1 bytes are left over'],
    ['an element that begins behind the end', '04000000' + '61626364', 'the bytes end before element 1'],
    ['what is not UTF-8', '01000000' + 'ff' + '00000000', 'element 0 is not valid UTF-8'],
    ['half a surrogate', '00000000' + '03000000' + 'eda080', 'element 1 is not valid UTF-8'],
    ['NUL', '03000000' + '610062' + '00000000', 'element 0 holds a NUL'],
  ])('refuses BYTES with %s', (_what, hex, says) => {
    expect(refusal(texts(hex), takes(tensor('x', 'BYTES', [-1])))).toContain(says)
  })

  it('takes the character that stands for what is not UTF-8 where it was sent as such', () => {
    expect(parse(texts('03000000efbfbd' + '00000000'), takes(tensor('x', 'BYTES', [-1]))).inputs.x!.data).toEqual([
      '\uFFFD',
      '',
    ])
  })

  it('refuses a BOOL byte that is neither 0 nor 1', () => {
    const json = { inputs: [input('x', 'BOOL', [2], 2)] }
    expect(refusal(request(json, Buffer.of(1, 2)), takes(tensor('x', 'BOOL', [-1])))).toContain('value 1 is the byte 2')
  })
})

describe('rule 5: what an output says counts before what the request says, and JSON is the rule', () => {
  const binaryOf = (json: object) =>
    parse(request({ inputs: [input('x', 'FP32', [1, 2], 8)], ...json }, f32(1, 2))).binaryOutputs
  const y = (binary_data?: unknown) => ({ name: 'y', parameters: { binary_data } })

  it('is JSON where nothing is said, also for binary inputs', () => {
    expect(binaryOf({})).toEqual(new Set())
    expect(binaryOf({ outputs: [{ name: 'y' }, { name: 'z', parameters: null }] })).toEqual(new Set())
  })

  it('is bytes for those that say so, or all where the request does', () => {
    expect(binaryOf({ outputs: [y(true), { name: 'z' }] })).toEqual(new Set(['y']))
    const parameters = { binary_data_output: true }
    expect(binaryOf({ parameters })).toEqual(new Set(['y', 'z']))
    expect(binaryOf({ parameters, outputs: [] })).toEqual(new Set(['y', 'z']))
    expect(binaryOf({ parameters, outputs: [{ name: 'z' }] })).toEqual(new Set(['z']))
  })

  it('heeds an output that says otherwise than its request', () => {
    const both = [y(false), { name: 'z' }]
    expect(binaryOf({ parameters: { binary_data_output: true }, outputs: both })).toEqual(new Set(['z']))
    expect(binaryOf({ parameters: { binary_data_output: false }, outputs: [y(true)] })).toEqual(new Set(['y']))
  })

  it('knows an output that is named twice by its last mention', () => {
    expect(binaryOf({ outputs: [y(true), y(false)] })).toEqual(new Set())
  })

  it.each<[string, object, string]>([
    ['binary_data is no truth', { outputs: [y('yes')] }, `Output 'y': 'binary_data' must be true or false`],
    ['binary_data_output is no truth', { parameters: { binary_data_output: 1 } }, `'binary_data_output' must be true`],
    ['parameters are none', { outputs: [{ name: 'y', parameters: 5 }] }, `Output 'y': 'parameters'`],
    ['classes are asked for', { outputs: [{ name: 'y', parameters: { classification: 3 } }] }, `'classification'`],
    [
      'it is to go to shared memory',
      { outputs: [{ name: 'y', parameters: { shared_memory_region: 'r' } }] },
      'shared memory',
    ],
  ])('is refused where %s', (_when, json, says) => {
    expect(refusal(request({ inputs: [input('x', 'FP32', [1, 2], 8)], ...json }, f32(1, 2)))).toContain(says)
  })
})

describe('rule 9: 16-bit floats go as bytes only', () => {
  it('takes the bits of FP16', () => {
    const bytes = Buffer.from(Uint16Array.of(0x3c00, 0x7e00).buffer)
    const json = { inputs: [input('x', 'FP16', [2], 4)] }
    expect(parse(request(json, bytes), takes(tensor('x', 'FP16', [-1]))).inputs.x).toEqual({
      datatype: 'FP16',
      shape: [2],
      data: Uint16Array.of(0x3c00, 0x7e00),
    })
  })

  it('refuses them as JSON, and BF16 in any form', () => {
    const half = takes(tensor('x', 'FP16', [-1]))
    const asJson = { inputs: [{ name: 'x', datatype: 'FP16', shape: [1], data: [1] }] }
    expect(refusal(request(asJson, Buffer.alloc(0)), half)).toContain('only as bytes')
    const brain = { inputs: [input('x', 'BF16', [1], 2)] }
    expect(refusal(request(brain, Buffer.alloc(2)), half)).toContain('datatype is BF16, but the model takes FP16')
  })
})

describe('bytes are taken as they are: of exactly the type of the model', () => {
  it.each<[string, unknown]>([
    ['narrower', 'FP32'],
    ['of another kind', 'INT64'],
    ['made up', 'float64'],
    ['missing', undefined],
  ])('a type that is %s is refused, also where JSON would be coerced', (_what, datatype) => {
    const json = { inputs: [{ ...input('x', 'FP64', [1], 8), datatype }] }
    expect(refusal(request(json, Buffer.alloc(8)), takes(tensor('x', 'FP64', [-1])))).toContain('datatype')
  })
})

describe('rule 11: shapes that say nonsense', () => {
  it.each<[string, number[], string]>([
    ['negative sizes', [-1, 2], 'integers of at least 0'],
    ['more elements than there are numbers', [2 ** 53 - 1, 2], 'too many elements'],
    ['rows without values', [5, 0], 'but the model takes'],
    ['other axes', [2], 'but the model takes [-1, 2]'],
  ])('are refused: %s', (_what, shape, says) => {
    expect(refusal(request({ inputs: [input('x', 'FP32', shape, 8)] }, f32(1, 2)))).toContain(says)
  })

  it('a shape alone makes no room: a trillion texts need their bytes', () => {
    const json = { inputs: [input('x', 'BYTES', [2 ** 40], 8)] }
    expect(refusal(request(json, Buffer.alloc(8)), takes(tensor('x', 'BYTES', [-1])))).toContain('at least')
  })

  it('rows without values are refused where the model would take them', () => {
    const json = { inputs: [input('x', 'FP32', [2 ** 40, 0], 0)] }
    expect(refusal(request(json, f32()), takes(tensor('x', 'FP32', [-1, -1])))).toContain('rows without values')
  })
})

describe('rule 12: timeout, priority and sequences', () => {
  const withParameters = (parameters: object) =>
    request({ inputs: [input('x', 'FP32', [1, 2], 8)], parameters }, f32(1, 2))

  it('reads microseconds and priority', () => {
    expect(parse(withParameters({ timeout: 250_000, priority: 2 }))).toMatchObject({
      timeoutMicros: 250_000,
      priority: 2,
    })
    expect(parse(withParameters({ timeout: 0, priority: 0 }))).toMatchObject({ timeoutMicros: null, priority: 0 })
    expect(parse(withParameters({ timeout: null, priority: null }))).toMatchObject({
      timeoutMicros: null,
      priority: null,
    })
  })

  it.each<[string, object, string]>([
    ['a timeout that is negative', { timeout: -1 }, `'timeout' must be a whole number`],
    ['a timeout that is broken', { timeout: 0.5 }, `'timeout' must be a whole number`],
    ['a timeout as text', { timeout: '5' }, `'timeout' must be a whole number`],
    ['a priority that is negative', { priority: -1 }, `'priority' must be a whole number`],
    ['a priority as text', { priority: 'high' }, `'priority' must be a whole number`],
    ['a sequence by number', { sequence_id: 5 }, 'Sequences are not supported'],
    ['a sequence by name', { sequence_id: 'a' }, 'Sequences are not supported'],
    ['the start of a sequence', { sequence_start: true }, 'Sequences are not supported'],
    ['the end of a sequence', { sequence_end: true }, 'Sequences are not supported'],
  ])('refuses %s', (_what, parameters, says) => {
    expect(refusal(withParameters(parameters))).toContain(says)
  })

  it('lets those pass that say they are in no sequence', () => {
    const none = { sequence_id: 0, sequence_start: false, sequence_end: false }
    expect(parse(withParameters(none)).rows).toBe(1)
  })
})

describe('a request that Millrace writes', () => {
  it('carries bytes only where JSON can not, if so asked', () => {
    const inputs: Record<string, Tensor> = {
      a: { datatype: 'FP32', shape: [2], data: Float32Array.of(1, 2) },
      b: { datatype: 'FP32', shape: [2], data: Float32Array.of(1, NaN) },
      c: { datatype: 'FP16', shape: [2], data: Uint16Array.of(1, 2) },
    }
    const signature = takes(tensor('a', 'FP32', [-1]), tensor('b', 'FP32', [-1]), tensor('c', 'FP16', [-1]))
    const sent = encodeInferRequestBody({ inputs }, { binaryInputs: 'needed' })
    const json = JSON.parse(sent.body.toString('utf8', 0, sent.jsonBytes!))
    expect(json.inputs.map((one: object) => 'data' in one)).toEqual([true, false, false])
    expect(parse(sent, signature).inputs).toEqual(inputs)
    expect(encodeInferRequestBody({ inputs: { a: inputs.a! } }, { binaryInputs: 'needed' }).jsonBytes).toBeNull()
  })

  it('is the same from bytes that are at hand', () => {
    const inputs = [
      { name: 'x', datatype: 'FP32', shape: [1, 2], bytes: f32(1, 2) },
      { name: 's', datatype: 'BYTES', shape: [1], bytes: Buffer.from('0200000061c3', 'hex') },
    ]
    inputs[1]!.bytes = Buffer.from('02000000c3a9', 'hex')
    const sent = encodeRequestOfBytes(
      { id: 'i', inputs, outputs: ['z', 'y'] },
      { binaryOutputs: new Set(['y']), parameters: { timeout: 9 } },
    )
    expect(parse(sent, takes(tensor('x', 'FP32', [-1, 2]), tensor('s', 'BYTES', [-1])))).toMatchObject({
      id: 'i',
      inputs: { x: { data: Float32Array.of(1, 2) }, s: { data: ['é'] } },
      outputs: ['z', 'y'],
      binaryOutputs: new Set(['y']),
      timeoutMicros: 9,
    })
    const all = encodeRequestOfBytes({ inputs: [inputs[0]!] }, { binaryOutputs: 'all' })
    expect(parse(all).binaryOutputs).toEqual(new Set(['y', 'z']))
  })
})

it('whatever bytes follow whatever sizes: an answer or a 400, never anything else', () => {
  const signature = takes(tensor('x', 'FP32', [-1, 2]), tensor('s', 'BYTES', [-1]))
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }),
      fc.nat(40),
      fc.nat(40),
      fc.nat(4),
      fc.integer({ min: -2, max: 2 }),
      (bytes, first, second, rows, shift) => {
        const json = { inputs: [input('x', 'FP32', [rows, 2], first), input('s', 'BYTES', [rows], second)] }
        const sent = request(json, bytes)
        const shifted = { body: sent.body, jsonBytes: sent.jsonBytes + shift }
        expect(outcomeOf(() => parse(shifted, signature))).toBeOneOf(['read', 400])
      },
    ),
    { numRuns: 500 },
  )
})
