import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Datatype, Signature } from '../model/signature.ts'
import { columnsOf } from './columns.ts'
import { MalformedRecordError } from './errors.ts'
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

  it('are malformed, never anything worse, whatever JSON came', () => {
    fc.assert(
      fc.property(fc.json(), fc.json(), (request, response) => {
        const record = prediction({ request: Buffer.from(request), response: Buffer.from(response) })
        expect(outcomeOf(() => rowsOf(record, flights))).toBeOneOf(['read', 'MalformedRecordError'])
      }),
    )
  })
})
