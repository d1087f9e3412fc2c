import { describe, expect, it } from 'vitest'
import type { Datatype, Signature } from '../model/signature.ts'
import { encodeInferRequestBody } from '../protocol/inference.ts'
import { enrichedInputs } from './enriched-inputs.ts'
import { Enricher } from './enricher.ts'
import type { DeclaredTable } from './feature-source.ts'
import { FeatureTableBuilder } from './feature-table.ts'

const DAY_MS = 86_400_000
const AS_OF_MS = Date.UTC(2026, 0, 1)

const wide: Signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 4], columns: ['a', 'visits', 'b', 'spent'] }],
  outputs: [],
}
const single: Signature = {
  inputs: [
    { name: 'a', datatype: 'FP32', shape: [-1, 1], columns: ['a'] },
    { name: 'visits', datatype: 'INT64', shape: [-1, 1], columns: ['visits'] },
    { name: 'city', datatype: 'BYTES', shape: [-1], columns: ['city'] },
  ],
  outputs: [],
}

const declared = (change: Partial<DeclaredTable> = {}): DeclaredTable => ({
  table: 'customers.parquet',
  key: { column: 'customer' },
  columns: ['visits', 'spent'],
  stalenessMs: null,
  missing: 'error',
  stale: 'error',
  ...change,
})

/** @param values - the keys, then the columns */
function enricher(
  signature: Signature,
  table: DeclaredTable,
  values: unknown[][],
  { keyDatatype = 'INT64' as Datatype, nowMs = AS_OF_MS } = {},
): Enricher {
  const typeOf = (name: string) => signature.inputs.find(({ columns }) => columns!.includes(name))!.datatype
  const types = new Map(table.columns.map((name) => [name, typeOf(name)]))
  const builder = new FeatureTableBuilder(table, keyDatatype, types, values[0]!.length)
  builder.add(values)
  const enriched = enrichedInputs(signature, [{ ...table, keyDatatype }])
  const timed = { ...builder.table(), asOfMs: AS_OF_MS }
  return new Enricher({ ...signature, enriched }, [timed], { calendarMs: () => nowMs })
}

const customers = [
  [7n, 8n, 9n],
  [70, 80, 90],
  [0.7, 0.8, 0.9],
]
const tensor = (name: string, datatype: string, shape: number[], data: unknown[]) => ({ name, datatype, shape, data })
const wideRequest = (keys: number[]) => ({
  inputs: [
    tensor(
      'x',
      'FP32',
      [keys.length, 2],
      keys.flatMap((_, i) => [i + 1, -(i + 1)]),
    ),
    tensor('customer', 'INT64', [keys.length], keys),
  ],
})

describe('a request for a model whose inputs come partly from a table', () => {
  it('gets the columns of each of its rows at their places between its own', () => {
    const { request, fed } = enricher(wide, declared(), customers).read(wideRequest([9, 7]))
    expect(request.rows).toBe(2)
    const x = { datatype: 'FP32', shape: [2, 4], data: Float32Array.from([1, 90, -1, 0.9, 2, 70, -2, 0.7]) }
    expect(request.inputs).toEqual({ x })
    expect(fed).toEqual({ x, customer: { datatype: 'INT64', shape: [2], data: BigInt64Array.of(9n, 7n) } })
  })

  it('is read the same from bytes', () => {
    const inputs = {
      x: { datatype: 'FP32' as const, shape: [1, 2], data: Float32Array.of(1, 2) },
      customer: { datatype: 'INT64' as const, shape: [1], data: BigInt64Array.of(8n) },
    }
    const { body, jsonBytes } = encodeInferRequestBody({ inputs }, { binaryInputs: 'all' })
    const { request } = enricher(wide, declared(), customers).read(body, { jsonBytes })
    expect(request.inputs['x']!.data).toEqual(Float32Array.from([1, 80, 2, 0.8]))
  })

  it('leaves out inputs that a table gives wholly, whatever their types', () => {
    const table = declared({ columns: ['visits', 'city'] })
    const made = enricher(
      single,
      table,
      [
        ['x', 'y'],
        [1n, 2n],
        ['Ulm', 'Ede'],
      ],
      { keyDatatype: 'BYTES' },
    )
    expect(made.signature.enriched).toEqual({
      asked: [single.inputs[0], { name: 'customer', datatype: 'BYTES', shape: [-1], columns: ['customer'] }],
      keys: [{ name: 'customer', datatype: 'BYTES', shape: [-1], columns: ['customer'] }],
    })
    const { request } = made.read({
      inputs: [tensor('a', 'FP32', [2, 1], [1, 2]), tensor('customer', 'BYTES', [2], ['y', 'y'])],
    })
    expect(request.inputs).toEqual({
      a: { datatype: 'FP32', shape: [2, 1], data: Float32Array.of(1, 2) },
      visits: { datatype: 'INT64', shape: [2, 1], data: BigInt64Array.of(2n, 2n) },
      city: { datatype: 'BYTES', shape: [2], data: ['Ede', 'Ede'] },
    })
  })

  it('may have its key in a column of the model, or in a parameter', () => {
    const byColumn = enricher(wide, declared({ key: { column: 'a' } }), customers)
    expect(byColumn.signature.enriched).toMatchObject({ asked: [{ name: 'x', columns: ['a', 'b'] }], keys: [] })
    const sent = { inputs: [tensor('x', 'FP32', [1, 2], [8, 1])] }
    expect(byColumn.read(sent).request.inputs['x']!.data).toEqual(Float32Array.from([8, 80, 1, 0.8]))

    const byParameter = enricher(wide, declared({ key: { parameter: 'customer' } }), customers)
    expect(byParameter.signature.enriched).toMatchObject({ asked: [{ name: 'x' }], keys: [{ name: 'customer' }] })
    const { request, fed } = byParameter.read({ ...sent, parameters: { customer: 9 } })
    expect(request.inputs['x']!.data).toEqual(Float32Array.from([8, 90, 1, 0.9]))
    expect(fed!['customer']!.data).toEqual(BigInt64Array.of(9n))
    expect(() => byParameter.read(sent)).toThrow(/^Parameter 'customer' is missing/)
  })

  it('counts as it is where it has every input, stale or not', () => {
    const whole = { inputs: [tensor('x', 'FP32', [1, 4], [1, 2, 3, 4])] }
    const made = enricher(wide, declared({ stalenessMs: DAY_MS }), customers, { nowMs: AS_OF_MS + 9 * DAY_MS })
    const { request, fed } = made.read(whole)
    expect(request.inputs['x']!.data).toEqual(Float32Array.of(1, 2, 3, 4))
    expect(fed).toBeNull()
  })

  it('is refused in terms of what callers send', () => {
    const made = enricher(wide, declared(), customers)
    const refused = (inputs: unknown[]) => () => made.read({ inputs })
    expect(refused([tensor('x', 'FP32', [1, 2], [1, 2])])).toThrow(
      /^Input 'customer' is missing: the model takes 'x', 'customer'/,
    )
    expect(refused([tensor('x', 'FP32', [1, 3], [1, 2, 3])])).toThrow(/but the model takes \[-1, 2\]/)
  })

  it('is refused for an unknown key, unless values for one are declared', () => {
    expect(() => enricher(wide, declared(), customers).read(wideRequest([7, 1]))).toThrow(
      `customer "1" is not in the table 'customers.parquet'`,
    )
    const rowOf = (missing: DeclaredTable['missing']) =>
      enricher(wide, declared({ missing }), customers).read(wideRequest([1])).request.inputs['x']!.data
    expect(rowOf('default')).toEqual(Float32Array.from([1, NaN, -1, NaN]))
    expect(rowOf({ visits: 5, spent: -1 })).toEqual(Float32Array.from([1, 5, -1, -1]))
  })

  it('is refused while the table is stale, unless it is to be used all the same', () => {
    const at = (nowMs: number, stale: DeclaredTable['stale'] = 'error') =>
      enricher(wide, declared({ stalenessMs: 2 * DAY_MS, stale }), customers, { nowMs })
    const read = (made: Enricher) => made.read(wideRequest([7])).request.inputs['x']!.data
    expect(read(at(AS_OF_MS + 2 * DAY_MS))).toEqual(Float32Array.from([1, 70, -1, 0.7]))
    expect(() => read(at(AS_OF_MS + 2 * DAY_MS + 1))).toThrow(
      `The table 'customers.parquet' is stale: it is as of 2026-01-01T00:00:00.000Z, 48.0 h ago, and may be 48.0 h old.`,
    )
    expect(read(at(AS_OF_MS + 9 * DAY_MS, 'use'))).toEqual(Float32Array.from([1, 70, -1, 0.7]))
  })
})

describe('what callers are asked for', () => {
  const asked = (signature: Signature, change: Partial<DeclaredTable>) => () =>
    enrichedInputs(signature, [{ ...declared(change), keyDatatype: 'INT64' }])

  it.each([
    ["a column that is not the model's", wide, { columns: ['age'] }, /no column 'age'.*$/],
    ['a key that is the name of an input', wide, { key: { column: 'x' } }, /its key 'x' is called as an input/],
    ['a key that a table gives', wide, { key: { column: 'visits' } }, /its key 'visits' is itself given by a table/],
    [
      'nothing at all',
      wide,
      { columns: ['a', 'visits', 'b', 'spent'], key: { parameter: 'customer' } },
      /callers would have no input to send/,
    ],
  ] as const)('is refused with %s', (_, signature, change, expected) => {
    expect(asked(signature, change as Partial<DeclaredTable>)).toThrow(expected)
  })
})
