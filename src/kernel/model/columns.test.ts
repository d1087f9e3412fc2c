import { describe, expect, it } from 'vitest'
import { tableToTensors } from './columns.ts'
import type { Datatype, Signature } from './signature.ts'

const signature = (datatype: Datatype, shape: number[], columns: string[] | null): Signature => ({
  inputs: [{ name: 'x', datatype, shape, columns }],
  outputs: [],
})
const one = (datatype: Datatype, values: unknown[]): unknown =>
  tableToTensors(signature(datatype, [-1], ['v']), { v: values }, 0, values.length).x!.data

function thrownBy(act: () => unknown): Error {
  try {
    act()
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was thrown')
}

describe('a table as inputs of a model', () => {
  it('puts the columns side by side, in the model’s order', () => {
    const table = { b: [10, 20, 30], other: ['x', 'y', 'z'], a: [1, 2, 3] }
    expect(tableToTensors(signature('FP32', [-1, 2], ['a', 'b']), table, 1, 3)).toEqual({
      x: { datatype: 'FP32', shape: [2, 2], data: Float32Array.of(2, 20, 3, 30) },
    })
  })

  it('gives [rows] or [rows, 1] as the model wants it', () => {
    expect(tableToTensors(signature('FP64', [-1], ['a']), { a: [1, 2] }, 0, 2).x!.shape).toEqual([2])
    expect(tableToTensors(signature('FP64', [-1, 1], ['a']), { a: [1, 2] }, 0, 2).x!.shape).toEqual([2, 1])
  })

  it('coerces by the type of the model, without loss', () => {
    expect(one('FP64', [1, 2n, true, '3.5', ' -1e3 ', null])).toEqual(Float64Array.of(1, 2, 1, 3.5, -1_000, NaN))
    expect(one('INT64', [1, 2n ** 62n, '9007199254740993', false])).toEqual(
      BigInt64Array.of(1n, 2n ** 62n, 2n ** 53n + 1n, 0n),
    )
    expect(one('INT8', [-128, '127', 5n])).toEqual(Int8Array.of(-128, 127, 5))
    expect(one('BOOL', [true, 0, 1n, 'false', 'TRUE'])).toEqual(Uint8Array.of(1, 0, 1, 0, 1))
    expect(one('BYTES', ['ä', 5, true, 7n])).toEqual(['ä', '5', 'true', '7'])
    expect(one('FP16', [1, -2, 65_504, 0.1])).toEqual(Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x2e66))
  })

  it.each<[Datatype, unknown, string]>([
    ['FP32', 'abc', `the text "abc" can't be FP32`],
    ['FP32', '', `the text ""`],
    ['FP32', 1e39, `the number 1e+39`],
    ['FP32', new Date(0), 'a value of type Date'],
    ['FP32', undefined, 'a missing value'],
    ['INT32', 1.5, 'the number 1.5'],
    ['INT32', null, 'a missing value'],
    ['INT32', 2 ** 31, '2147483648'],
    ['UINT8', -1, 'the number -1'],
    ['INT64', 2n ** 63n, '9223372036854775808'],
    ['INT64', '1.5', 'the text "1.5"'],
    ['UINT64', -1n, '-1'],
    ['BOOL', 'perhaps', 'perhaps'],
    ['BOOL', 2, 'the number 2'],
    ['BYTES', 'a\0b', 'the text'],
    ['BYTES', '\ud800', 'the text'],
    ['BYTES', null, 'a missing value'],
    ['FP16', 70_000, '70000'],
  ])('refuses for %s: %o', (datatype, value, says) => {
    const good = datatype === 'BYTES' ? 'ok' : 1
    const table = { v: [good, good, value] }
    const error = thrownBy(() => tableToTensors(signature(datatype, [-1], ['v']), table, 0, 3))
    expect(error).toMatchObject({ code: 'MR_COLUMN_VALUE', column: 'v', row: 2 })
    expect(error.message).toContain(`Column 'v', row 2`)
    expect(error.message).toContain(says)
  })

  it('names a column that is not there, and those that are', () => {
    expect(() => tableToTensors(signature('FP32', [-1, 2], ['a', 'toString']), { a: [1] }, 0, 1)).toThrow(
      `Column 'toString', which input 'x' takes, is not there; the columns are: a.`,
    )
  })

  it('says when nothing tells which columns feed an input', () => {
    expect(() => tableToTensors(signature('FP32', [-1, 2], null), { a: [1] }, 0, 1)).toThrow(
      'does not say which columns feed it',
    )
  })

  it('keeps to a fixed number of rows, and to the length of the columns', () => {
    expect(() => tableToTensors(signature('FP32', [1, 1], ['a']), { a: [1, 2] }, 0, 2)).toThrow(
      'exactly 1 rows at a time, not 2',
    )
    expect(() => tableToTensors(signature('FP32', [-1], ['a']), { a: [1] }, 0, 2)).toThrow(
      `Column 'a' ends at row 1; 2 rows are needed`,
    )
  })
})
