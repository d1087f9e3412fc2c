import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Datatype, Signature } from '../model/signature.ts'
import { encodeInferRequest, parseInferRequest, ProtocolError } from './inference.ts'

// The numbers are those of the rules for POST infer, as in binary-request.test.ts.

const tensor = (name: string, datatype: Datatype, shape: number[]) => ({ name, datatype, shape, columns: null })
const model: Signature = {
  inputs: [tensor('x', 'FP32', [-1, 2])],
  outputs: [tensor('y', 'FP32', [-1]), tensor('z', 'FP32', [-1])],
}
const single = (datatype: Datatype, shape: number[] = [-1]): Signature => ({
  inputs: [tensor('x', datatype, shape)],
  outputs: model.outputs,
})

const bytes = (json: unknown): Uint8Array =>
  new TextEncoder().encode(typeof json === 'string' ? json : JSON.stringify(json))
const input = (change: object = {}): object => ({ name: 'x', shape: [1, 2], datatype: 'FP32', data: [1, 2], ...change })
const parse = (json: unknown, signature = model) => parseInferRequest(bytes(json), signature)
const values = (datatype: Datatype, data: string, count: number) =>
  parse(`{"inputs":[{"name":"x","shape":[${count}],"datatype":"${datatype}","data":${data}}]}`, single(datatype)).inputs
    .x!.data

/** The words of the 400; anything else fails the test. */
function refusal(json: unknown, signature = model): string {
  try {
    parseInferRequest(json instanceof Uint8Array ? json : bytes(json), signature)
  } catch (error) {
    if (error instanceof ProtocolError && error.status === 400) return error.message
    throw error
  }
  throw new Error(`it was accepted: ${JSON.stringify(json)}`)
}

describe('a request', () => {
  it('becomes tensors in the type of the model', () => {
    expect(parse({ id: 'a', inputs: [input()], parameters: { priority: 1 } })).toEqual({
      id: 'a',
      inputs: { x: { datatype: 'FP32', shape: [1, 2], data: Float32Array.of(1, 2) } },
      rows: 1,
      outputs: null,
      binaryOutputs: new Set(),
      timeoutMicros: null,
      priority: 1,
      parameters: { priority: 1 },
    })
  })

  it('may nest its data as the shape says, or leave it flat (rule 7)', () => {
    for (const data of [
      [1, 2, 3, 4, 5, 6],
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
    ]) {
      const { inputs, rows } = parse({ inputs: [input({ shape: [3, 2], data })] })
      expect(rows).toBe(3)
      expect(inputs.x!.data).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6))
    }
  })

  it('may hold unknown keys, and null for what is optional (rule 7)', () => {
    const request = {
      id: null,
      parameters: null,
      outputs: null,
      whatever: { deep: [1] },
      inputs: [input({ parameters: null, extra: 1 })],
    }
    expect(parse(request)).toMatchObject({ id: null, outputs: null, rows: 1 })
  })

  it('may name outputs, once each in its order', () => {
    expect(
      parse({ inputs: [input()], outputs: [{ name: 'z' }, { name: 'y', parameters: {} }, { name: 'z' }] }).outputs,
    ).toEqual(['z', 'y'])
    expect(parse({ inputs: [input()], outputs: [] }).outputs).toBeNull()
  })

  it('may have no rows', () => {
    expect(parse({ inputs: [input({ shape: [0, 2], data: [] })] })).toMatchObject({ rows: 0 })
  })

  it('may be an object that was parsed already', () => {
    expect(parseInferRequest({ inputs: [input()] }, model).inputs.x!.data).toEqual(Float32Array.of(1, 2))
  })

  it('keeps doubles whole, also when they are called FP32', () => {
    expect(values('FP64', '[0.1, 1e300]', 2)).toEqual(Float64Array.of(0.1, 1e300))
    expect(
      parse({ inputs: [{ name: 'x', shape: [1], datatype: 'FP32', data: [0.1] }] }, single('FP64')).inputs.x!.data,
    ).toEqual(Float64Array.of(0.1))
  })

  it('keeps every digit of 64-bit integers (rule 10)', () => {
    expect(values('INT64', '[9007199254740993, -9223372036854775808, 9223372036854775807, 7]', 4)).toEqual(
      BigInt64Array.of(9_007_199_254_740_993n, -(2n ** 63n), 2n ** 63n - 1n, 7n),
    )
    expect(values('UINT64', '[18446744073709551615, 1e3]', 2)).toEqual(BigUint64Array.of(2n ** 64n - 1n, 1_000n))
  })

  it('keeps other inputs right when long integers make it look at the digits', () => {
    const signature = { ...model, inputs: [tensor('x', 'FP64', [-1]), tensor('n', 'INT64', [-1])] }
    const json =
      '{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[9007199254740993]},{"name":"n","shape":[1],"datatype":"INT64","data":[9007199254740993]}]}'
    expect(parse(json, signature).inputs).toMatchObject({
      x: { data: Float64Array.of(9_007_199_254_740_992) },
      n: { data: BigInt64Array.of(9_007_199_254_740_993n) },
    })
  })

  it('carries text and truth', () => {
    expect(values('BYTES', '["Zürich 😀", ""]', 2)).toEqual(['Zürich 😀', ''])
    expect(values('BOOL', '[true, false, 1, 0]', 4)).toEqual(Uint8Array.of(1, 0, 1, 0))
  })

  it('comes back as it was, for any integers', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { minLength: 1 }), (data) => {
        const x = { datatype: 'INT64' as const, shape: [data.length], data: BigInt64Array.from(data) }
        expect(parseInferRequest(bytes(encodeInferRequest({ inputs: { x } })), single('INT64')).inputs.x).toEqual(x)
      }),
    )
  })

  it('comes back as it was, for any doubles and texts', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ noNaN: true, noDefaultInfinity: true })),
        fc.array(fc.string({ unit: 'grapheme' })),
        (doubles, texts) => {
          const x = {
            datatype: 'FP64' as const,
            shape: [doubles.length],
            data: Float64Array.from(doubles, (value) => value + 0),
          }
          expect(parseInferRequest(bytes(encodeInferRequest({ inputs: { x } })), single('FP64')).inputs.x).toEqual(x)
          const clean = texts.filter((text) => !text.includes('\0'))
          const t = { datatype: 'BYTES' as const, shape: [clean.length], data: clean }
          expect(parseInferRequest(bytes(encodeInferRequest({ inputs: { x: t } })), single('BYTES')).inputs.x).toEqual(
            t,
          )
        },
      ),
    )
  })
})

describe('a request is refused, naming what is wrong, when', () => {
  it.each<[string, unknown, string]>([
    ['it is no JSON', '{"inputs":', 'not valid JSON'],
    ['it is empty', '', 'not valid JSON'],
    ['it holds NaN', '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[NaN,1]}]}', 'not valid JSON'],
    ['it is no object', [], 'must be a JSON object'],
    ['it is null', null, 'must be a JSON object'],
    ['its id is a number', { id: 5, inputs: [input()] }, `'id'`],
    ['it has no inputs', {}, `'inputs' must be an array`],
    ['its inputs are empty', { inputs: [] }, `'inputs' must be an array`],
    ['its inputs are an object', { inputs: { x: [1] } }, `'inputs' must be an array`],
    ['an input is no object', { inputs: [1] }, 'must be an object'],
    ['an input has no name', { inputs: [input({ name: undefined })] }, `'name'`],
    ['an input is unknown', { inputs: [input({ name: 'age' })] }, `Unknown input 'age': the model takes 'x'`],
    [
      'an input is called __proto__',
      '{"inputs":[{"name":"__proto__","shape":[1,2],"datatype":"FP32","data":[1,2]}]}',
      'Unknown input',
    ],
    ['an input comes twice', { inputs: [input(), input()] }, `Input 'x' is given twice`],
    ['its type is another', { inputs: [input({ datatype: 'INT64' })] }, 'datatype is INT64, but the model takes FP32'],
    ['its type is wider', { inputs: [input({ datatype: 'FP64' })] }, 'datatype is FP64'],
    ['its type is made up', { inputs: [input({ datatype: 'float' })] }, `'datatype' must be one of`],
    ['its type is missing', { inputs: [input({ datatype: null })] }, `'datatype'`],
    ['its type can not go into JSON (rule 9)', { inputs: [input({ datatype: 'FP16' })] }, `FP16 can't be sent as JSON`],
    ['its type is BF16 (rule 9)', { inputs: [input({ datatype: 'BF16' })] }, `BF16 can't be sent as JSON`],
    ['it has no shape', { inputs: [input({ shape: undefined })] }, `'shape' must be an array`],
    ['its shape has other axes', { inputs: [input({ shape: [2] })] }, 'shape [2], but the model takes [-1, 2]'],
    ['its shape has endless axes', { inputs: [input({ shape: Array.from({ length: 1_000 }, () => 1) })] }, '1000 axes'],
    [
      'its shape is of another size',
      { inputs: [input({ shape: [1, 3], data: [1, 2, 3] })] },
      'shape [1, 3], but the model takes [-1, 2]',
    ],
    ['its shape is negative (rule 11)', { inputs: [input({ shape: [-1, 2] })] }, 'integers of at least 0'],
    ['its shape is broken', { inputs: [input({ shape: [1.5, 2] })] }, 'integers of at least 0'],
    ['its shape is text', { inputs: [input({ shape: ['1', 2] })] }, 'integers of at least 0'],
    ['its shape overflows (rule 11)', { inputs: [input({ shape: [2 ** 53 - 1, 2] })] }, 'too many elements'],
    ['its shape is too large for its data', { inputs: [input({ shape: [2 ** 40, 2] })] }, `but 'data' has 2`],
    ['it has no data', { inputs: [input({ data: undefined })] }, `'data' is missing`],
    ['its data is no array', { inputs: [input({ data: 'AAAA' })] }, `'data' must be an array`],
    ['it has too few values', { inputs: [input({ data: [1] })] }, `takes 2 values, but 'data' has 1`],
    ['it has too many values', { inputs: [input({ data: [1, 2, 3] })] }, `takes 2 values, but 'data' has 3`],
    ['its nesting is uneven', { inputs: [input({ shape: [2, 2], data: [[1, 2, 3], [4]] })] }, 'axis 1 has 3 items'],
    ['its nesting is of another shape', { inputs: [input({ shape: [2, 2], data: [[1, 2]] })] }, 'axis 0 has 1 items'],
    ['its nesting stops half-way', { inputs: [input({ shape: [2, 2], data: [[1, 2], 3] })] }, 'nested unevenly'],
    ['its nesting is too deep (rule 11)', { inputs: [input({ data: [[[1], [2]]] })] }, 'nested deeper'],
    ['a value is text', { inputs: [input({ data: [1, '2'] })] }, `value 1 is "2", which is not a number`],
    ['a value is null', { inputs: [input({ data: [null, 2] })] }, 'value 0 is null'],
    ['a value is truth', { inputs: [input({ data: [true, 2] })] }, 'value 0 is true'],
    ['a value is an object', { inputs: [input({ data: [{}, 2] })] }, 'value 0 is an object'],
    ['a value is too large', { inputs: [input({ data: [1e39, 2] })] }, 'value 0 is 1e+39'],
    ['its parameters are a list', { inputs: [input()], parameters: [] }, `'parameters' must be an object`],
    [
      'it belongs to a sequence (rule 12)',
      { inputs: [input()], parameters: { sequence_id: 5 } },
      'Sequences are not supported',
    ],
    ['its timeout is no number (rule 12)', { inputs: [input()], parameters: { timeout: 'soon' } }, `'timeout'`],
    ['its outputs are no list', { inputs: [input()], outputs: {} }, `'outputs' must be an array`],
    [
      'it asks for an unknown output',
      { inputs: [input()], outputs: [{ name: 'q' }] },
      `Unknown output 'q': the model has 'y', 'z'`,
    ],
    ['an output has no name', { inputs: [input()], outputs: ['y'] }, `'name'`],
  ])('%s', (_when, json, says) => {
    expect(refusal(json)).toContain(says)
  })

  it('an input is missing, or has other rows than the rest', () => {
    const two = { ...model, inputs: [tensor('x', 'FP32', [-1, 2]), tensor('age', 'INT64', [-1])] }
    expect(refusal({ inputs: [input()] }, two)).toContain(`Input 'age' is missing: the model takes 'x', 'age'`)
    const age = { name: 'age', shape: [2], datatype: 'INT64', data: [1, 2] }
    expect(refusal({ inputs: [input(), age] }, two)).toContain(`Input 'age' has 2 rows, others have 1`)
  })

  it.each<[Datatype, string]>([
    ['INT8', '128'],
    ['UINT8', '-1'],
    ['INT16', '32768'],
    ['UINT16', '65536'],
    ['INT32', '2147483648'],
    ['UINT32', '1.5'],
    ['INT64', '9223372036854775808'],
    ['INT64', '1.5'],
    ['INT64', '1e300'],
    ['UINT64', '-1'],
    ['UINT64', '18446744073709551616'],
    ['INT64', '"5"'],
    ['INT64', 'null'],
    ['INT64', `1${'0'.repeat(50)}`],
    ['FP64', '1e999'],
    ['BOOL', '2'],
    ['BOOL', '"true"'],
    ['BYTES', '5'],
    ['BYTES', '"a\\u0000b"'],
    ['BYTES', '"\\ud800"'],
  ])('a value of %s is %s', (datatype, value) => {
    const json = `{"inputs":[{"name":"x","shape":[1],"datatype":"${datatype}","data":[${value}]}]}`
    expect(refusal(json, single(datatype))).toMatch(/^Input 'x': value 0 is .*, which is not/)
  })

  it('its rows have no values', () => {
    const json = { inputs: [{ name: 'x', shape: [2 ** 40, 0], datatype: 'FP32', data: [] }] }
    expect(refusal(json, single('FP32', [-1, -1]))).toContain('rows without values')
  })

  it('the model takes FP16, which only binary tensors can carry (rule 9)', () => {
    expect(refusal({ inputs: [{ name: 'x', shape: [1], datatype: 'FP16', data: [1] }] }, single('FP16'))).toContain(
      'FP16',
    )
  })

  it('its bytes are not UTF-8', () => {
    expect(refusal(Uint8Array.of(0x7b, 0xff, 0xfe))).toContain('not valid UTF-8')
  })

  it('something in it is nested beyond measure (rule 11)', () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000)
    expect(refusal(`{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":${deep}}]}`)).toMatch(/nested|shape/)
    const digits = `{"junk":${deep},"inputs":[{"name":"x","shape":[1],"datatype":"INT64","data":[9007199254740993]}]}`
    expect(refusal(digits, single('INT64'))).toContain('nested too deeply')
  })

  it('whatever else comes is not a request: never another error', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        expect(refusal(json)).not.toBe('')
      }),
      { numRuns: 500 },
    )
  })
})
