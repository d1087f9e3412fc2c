import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PredictionRecord } from '../contract/prediction.ts'
import type { Datatype, Signature } from '../model/signature.ts'
import { columnsOf } from './columns.ts'
import { MalformedRecordError } from './errors.ts'
import { numberToHalf } from '../model/float16.ts'
import type { Tensor } from '../model/tensor.ts'
import { encodeInferAnswer, encodeInferRequest, encodeInferRequestBody } from '../protocol/inference.ts'
import { LIST_VALUES_MAX } from './columns.ts'
import { body, FLIGHTS, outcomeOf, prediction } from './lake-builders.ts'
import { rowsOf } from './rows.ts'

const flights = columnsOf(FLIGHTS)

function oneInput(datatype: Datatype, values: string): unknown[] {
  const signature: Signature = { inputs: [{ name: 'x', datatype, shape: [-1], columns: null }], outputs: [] }
  const length = (JSON.parse(values) as unknown[]).length
  const request = Buffer.from(`{"inputs":[{"name":"x","datatype":"${datatype}","shape":[${length}],"data":${values}}]}`)
  return rowsOf(prediction({ request, response: body('outputs', []) }), columnsOf(signature)).cells[0]!
}

describe('the rows of a prediction', () => {
  it('are one per batch row, inputs before outputs', () => {
    expect(rowsOf(prediction({}, [100, 200]), flights)).toEqual({
      rows: 2,
      cells: [
        [100, 200],
        ['A100', 'A200'],
        [0.1, 0.2],
      ],
    })
  })

  it('have what the model was fed, and the keys by which it was found', () => {
    const key = { name: 'id', datatype: 'BYTES' as const, shape: [-1], columns: ['id'] }
    const asked = [{ name: 'x', datatype: 'FP32' as const, shape: [-1, 1], columns: ['a'] }, key]
    const signature: Signature = {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['a', 'b'] }],
      outputs: [],
      enriched: { asked, keys: [key] },
    }
    const x = { datatype: 'FP32' as const, shape: [1, 2], data: Float32Array.of(1, 2) }
    const id = { datatype: 'BYTES' as const, shape: [1], data: ['c7'] }
    const fed = encodeInferRequestBody({ inputs: { x, id } }, { binaryInputs: 'all' })
    const sent = { inputs: { x: { ...x, shape: [1, 1], data: Float32Array.of(1) }, id } }
    const request = Buffer.from(encodeInferRequest(sent))
    const record = prediction({ request, response: body('outputs', []) })
    const schema = columnsOf(signature)
    const cells = rowsOf({ ...record, fed: fed.body, fedJsonBytes: fed.jsonBytes }, schema).cells
    expect(cells).toEqual([[1], [2], ['c7']])
    // A constant that stood in for the model knows no more than the request.
    expect(rowsOf(record, schema).cells).toEqual([[null], [null], ['c7']])
  })

  it('have what was sent, and what a step made of it for the model', () => {
    const signature: Signature = {
      inputs: [{ name: 'city', datatype: 'BYTES', shape: [-1, 1], columns: ['city'] }],
      outputs: [{ name: 'score', datatype: 'FP32', shape: [-1], columns: ['score'] }],
      prepared: { fed: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['a', 'b'] }] },
    }
    const x = { datatype: 'FP32' as const, shape: [2, 2], data: Float32Array.of(1, NaN, 3, 4) }
    const fed = encodeInferRequestBody({ inputs: { x } }, { binaryInputs: 'all' })
    const city = { datatype: 'BYTES' as const, shape: [2, 1], data: ['Bari', 'Rome'] }
    const request = Buffer.from(encodeInferRequest({ inputs: { city } }))
    const outputs = { modelName: 'm', modelVersion: '1', id: null }
    const score = { datatype: 'FP32' as const, shape: [2], data: Float32Array.of(0.5, 1) }
    const response = encodeInferAnswer({ ...outputs, outputs: { score } }).body
    const record = prediction({ request, response })
    const schema = columnsOf(signature)
    const both = { ...record, fed: fed.body, fedJsonBytes: fed.jsonBytes }
    const sent = [
      ['Bari', 'Rome'],
      [0.5, 1],
    ]
    expect(rowsOf(both, schema)).toEqual({ rows: 2, cells: [...sent, [1, 3], [null, 4]] })
    // A constant that stood in for the model was fed nothing, and a refused request came to nothing.
    const nothing = [null, null]
    expect(rowsOf(record, schema).cells).toEqual([...sent, nothing, nothing])
    expect(rowsOf({ ...record, status: 400 }, schema).cells).toEqual([sent[0], nothing, nothing, nothing])
  })

  it('spread a table by its columns and keep anything else as a list, nested or flat', () => {
    const signature: Signature = {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['a', 'b'] }],
      outputs: [{ name: 'p', datatype: 'FP32', shape: [-1, 3], columns: null }],
    }
    const request = body('inputs', [
      {
        name: 'x',
        shape: [2, 2],
        data: [
          [1, 2],
          [3, 4],
        ],
      },
    ])
    const response = body('outputs', [{ name: 'p', shape: [2, 3], data: [1, 2, 3, 4, 5, 6] }])
    const { cells } = rowsOf(prediction({ request, response }), columnsOf(signature))
    expect(cells).toEqual([
      [1, 3],
      [2, 4],
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
    ])
  })

  it('are none where an answered request had none', () => {
    const request = body('inputs', [{ name: 'distance', shape: [0, 1], data: [] }])
    const response = body('outputs', [{ name: 'late', shape: [0], data: [] }])
    expect(rowsOf(prediction({ request, response }), flights)).toEqual({ rows: 0, cells: [[], [], []] })
    expect(rowsOf(prediction({ request, status: 500 }), flights).rows).toBe(1)
  })

  it('have null outputs where the prediction failed', () => {
    const failed = prediction({ status: 503, response: Buffer.from('{"error":"x"}') }, [1, 2])
    expect(rowsOf(failed, flights).cells[2]).toEqual([null, null])
  })

  it('are one row of nulls where the request itself was the fault', () => {
    for (const request of [
      '',
      '{',
      '[]',
      '{"inputs":[]}',
      '{"inputs":[{"name":"distance","shape":[1,1],"data":["x"]}]}',
    ])
      expect(rowsOf(prediction({ status: 400, request: Buffer.from(request) }), flights)).toEqual({
        rows: 1,
        cells: [[null], [null], [null]],
      })
  })

  it('keep every digit of 64-bit integers', () => {
    expect(oneInput('INT64', '[9223372036854775807, -9223372036854775808, 5]')).toEqual([
      2n ** 63n - 1n,
      -(2n ** 63n),
      5n,
    ])
    expect(oneInput('UINT64', '[18446744073709551615]')).toEqual([2n ** 64n - 1n])
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        expect(oneInput('INT64', `[${value}]`)).toEqual([value])
      }),
    )
  })

  it('give null for null, which is how JSON carries NaN', () => {
    expect(oneInput('FP32', '[null, 1.5]')).toEqual([null, 1.5])
  })

  it.each<[Datatype, string]>([
    ['UINT8', '[256]'],
    ['INT8', '[-129]'],
    ['INT32', '[1.5]'],
    ['INT64', '[9223372036854775808]'],
    ['UINT64', '[-1]'],
    ['FP32', '["1"]'],
    ['BYTES', '[1]'],
    ['BOOL', '[2]'],
  ])('are malformed where a %s does not fit: %s', (datatype, values) => {
    expect(() => oneInput(datatype, values)).toThrow(MalformedRecordError)
  })

  it('are malformed where the values do not divide into the rows', () => {
    const request = body('inputs', [{ name: 'distance', shape: [2, 1], data: [1, 2, 3] }])
    expect(() => rowsOf(prediction({ request }), flights)).toThrow("3 values of 'distance' for 2 rows")
  })

  it('are one row of nulls where a refused request says more rows than it has values', () => {
    const signature: Signature = {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 3], columns: null }],
      outputs: [],
    }
    const request = body('inputs', [{ name: 'x', shape: [1e15, 3], data: [] }])
    expect(rowsOf(prediction({ status: 400, request }), columnsOf(signature))).toEqual({ rows: 1, cells: [[null]] })
  })

  it('can be nested beyond measure without harm', () => {
    const request = Buffer.from(
      `{"inputs":[{"name":"distance","shape":[1],"data":${'['.repeat(99_000)}${']'.repeat(99_000)}}]}`,
    )
    expect(rowsOf(prediction({ status: 400, request }), flights).rows).toBe(1)
  })

  it('are malformed, never anything worse, whatever JSON came', () => {
    fc.assert(
      fc.property(fc.json(), fc.json(), (request, response) => {
        const record = prediction({ request: Buffer.from(request), response: Buffer.from(response) })
        expect(outcomeOf(() => rowsOf(record, flights))).toBeOneOf(['read', 'MalformedRecordError'])
      }),
    )
  })
})

describe('the rows of a prediction in bytes', () => {
  const spec = (name: string, datatype: Datatype, shape: number[], columns: string[] | null = null) => ({
    name,
    datatype,
    shape,
    columns,
  })
  const signature: Signature = {
    inputs: [
      spec('features', 'FP32', [-1, 2], ['a', 'b']),
      spec('n', 'INT64', [-1]),
      spec('s', 'BYTES', [-1, 1]),
      spec('t', 'BOOL', [-1]),
      spec('u', 'UINT8', [-1, 2]),
    ],
    outputs: [spec('p', 'FP64', [-1, 2]), spec('label', 'UINT64', [-1])],
  }
  const inputs: Record<string, Tensor> = {
    features: { datatype: 'FP32', shape: [2, 2], data: Float32Array.of(0.1, 2, 3, 4) },
    n: { datatype: 'INT64', shape: [2], data: BigInt64Array.of(9_007_199_254_740_993n, -5n) },
    s: { datatype: 'BYTES', shape: [2, 1], data: ['Zürich', ''] },
    t: { datatype: 'BOOL', shape: [2], data: Uint8Array.of(1, 0) },
    u: { datatype: 'UINT8', shape: [2, 2], data: Uint8Array.of(1, 2, 3, 255) },
  }
  const outputs: Record<string, Tensor> = {
    p: { datatype: 'FP64', shape: [2, 2], data: Float64Array.of(0.1, NaN, Infinity, 1) },
    label: { datatype: 'UINT64', shape: [2], data: BigUint64Array.of(2n ** 64n - 1n, 0n) },
  }
  const answer = { modelName: 'm', modelVersion: '1', id: null, outputs }

  function recordOf(binary: string[]): PredictionRecord {
    const request = encodeInferRequestBody({ inputs }, { binaryInputs: 'all' })
    const response = encodeInferAnswer(answer, new Set(binary))
    return prediction({
      request: request.body,
      requestJsonBytes: request.jsonBytes,
      response: response.body,
      responseJsonBytes: response.jsonBytes,
    })
  }

  const plain = (value: unknown): unknown =>
    typeof value === 'bigint' ? String(value) : Array.isArray(value) ? value.map(plain) : value

  it('are those that the same values give in JSON', () => {
    const columns = columnsOf(signature)
    const inJson = rowsOf(
      prediction({
        request: Buffer.from(encodeInferRequest({ inputs })),
        response: encodeInferAnswer(answer).body,
      }),
      columns,
    )
    for (const binary of [[], ['p'], ['label'], ['p', 'label']])
      expect(plain(rowsOf(recordOf(binary), columns).cells)).toEqual(plain(inJson.cells))
    expect(inJson.cells.at(-2)).toEqual([
      [0.1, null],
      [null, 1],
    ])
  })

  it('are read from a raw request by the signature', () => {
    const raw: Signature = { inputs: [spec('x', 'FP16', [-1, 2], ['a', 'b'])], outputs: [] }
    const bits = Uint16Array.of(numberToHalf(0.5), numberToHalf(-2), 0x7e00, numberToHalf(1))
    const record = prediction({
      request: Buffer.from(bits.buffer),
      requestJsonBytes: 0,
      response: body('outputs', []),
    })
    expect(rowsOf(record, columnsOf(raw))).toEqual({
      rows: 2,
      cells: [
        [0.5, null],
        [-2, 1],
      ],
    })
  })

  it.each<[string, Partial<PredictionRecord>, string]>([
    ['the JSON is longer than the body', { requestJsonBytes: 1e9 }, 'of which 1000000000 are JSON'],
    ['bytes are left over', { request: Buffer.concat([recordOf([]).request, Buffer.of(1)]) }, '1 bytes behind'],
    ['bytes are missing', { request: recordOf([]).request.subarray(0, -1) }, 'has no 4 bytes of a known type'],
    ['a raw request is for several inputs', { requestJsonBytes: 0 }, 'a raw request for a model with 5 inputs'],
  ])('are malformed where %s', (_when, change, says) => {
    const record = { ...recordOf([]), ...change }
    expect(() => rowsOf(record, columnsOf(signature))).toThrow(says)
    const failed = rowsOf({ ...record, status: 400 }, columnsOf(signature))
    expect(failed).toEqual({ rows: 1, cells: failed.cells.map(() => [null]) })
  })
})

describe('a tensor that is no table', () => {
  const size = LIST_VALUES_MAX + 1
  const image = (datatype: Datatype, shape: number[]): Signature => ({
    inputs: [{ name: 'image', datatype, shape: [-1, ...shape], columns: null }],
    outputs: [],
  })
  const response = body('outputs', [])

  /** Two equal rows of `length` values, as bytes and as JSON. */
  function cellsOf(length: number): { binary: unknown[][]; json: unknown[][] } {
    const columns = columnsOf(image('FP32', [-1]))
    const data = Float32Array.from({ length: 2 * length }, (_, at) => at % length)
    const inputs = { image: { datatype: 'FP32' as const, shape: [2, length], data } }
    const sent = encodeInferRequestBody({ inputs }, { binaryInputs: 'all' })
    return {
      binary: rowsOf(prediction({ request: sent.body, requestJsonBytes: sent.jsonBytes, response }), columns).cells,
      json: rowsOf(prediction({ request: Buffer.from(encodeInferRequest({ inputs })), response }), columns).cells,
    }
  }

  it('is kept as a list up to the limit, the same from JSON and bytes', () => {
    const { binary, json } = cellsOf(LIST_VALUES_MAX)
    const list = Array.from({ length: LIST_VALUES_MAX }, (_, at) => at)
    expect(binary).toEqual([
      [list, list],
      [null, null],
    ])
    expect(json).toEqual(binary)
  })

  it('is kept as digest, type and shape beyond it, the same from JSON and bytes', () => {
    const { binary, json } = cellsOf(size)
    const [lists, digests] = binary
    expect(lists).toEqual([null, null])
    expect(digests![0]).toMatch(/^sha256:[0-9a-f]{64} FP32\[4097\]$/)
    expect(digests![1]).toBe(digests![0])
    expect(json).toEqual(binary)
  })

  it('has the digest of its bytes, which other tools can make', () => {
    const row = Buffer.alloc(224 * 224 * 3, 7)
    const request = Buffer.concat([row, Buffer.alloc(row.length, 8)])
    const { cells } = rowsOf(
      prediction({ request, requestJsonBytes: 0, response }),
      columnsOf(image('UINT8', [224, 224, 3])),
    )
    const hex = createHash('sha256').update(row).digest('hex')
    expect(cells).toEqual([
      [null, null],
      [`sha256:${hex} UINT8[224,224,3]`, expect.not.stringContaining(hex)],
    ])
  })

  it('counts texts as values, too', () => {
    const data = Array.from({ length: size }, (_, at) => `t${at}`)
    const inputs = { image: { datatype: 'BYTES' as const, shape: [1, size], data } }
    const { cells } = rowsOf(
      prediction({ request: Buffer.from(encodeInferRequest({ inputs })), response }),
      columnsOf(image('BYTES', [-1])),
    )
    expect(cells).toEqual([[null], [expect.stringMatching(/^sha256:[0-9a-f]{64} BYTES\[4097\]$/)]])
  })
})
