import { describe, expect, it } from 'vitest'
import type { Signature, TensorSpec } from '../model/signature.ts'
import { columnsOf, hasTrials, META_COLUMNS, metaColumnsOf } from './columns.ts'

const tensor = (name: string, facts: Partial<TensorSpec> = {}): TensorSpec => ({
  name,
  datatype: 'FP32',
  shape: [-1],
  columns: null,
  ...facts,
})

function namesOf(signature: Partial<Signature>): string[] {
  const { columns } = columnsOf({ inputs: [], outputs: [], ...signature })
  return columns.slice(META_COLUMNS.length).map(({ name, type }) => `${name} ${type}`)
}

describe('the columns of a signature', () => {
  it('are one per named column, one scalar for [N] and [N, 1], else a list, with a digest where that may be too long', () => {
    const inputs = [
      tensor('features', { shape: [-1, 2], columns: ['age', 'income'] }),
      tensor('weight', { datatype: 'FP64', shape: [-1, 1] }),
      tensor('image', { datatype: 'UINT8', shape: [-1, 28, 28] }),
      tensor('photo', { datatype: 'UINT8', shape: [-1, 224, 224, 3] }),
      tensor('tokens', { datatype: 'INT64', shape: [-1, -1] }),
    ]
    const outputs = [tensor('label_out', { datatype: 'INT64' }), tensor('probabilities', { shape: [-1, 2] })]
    expect(namesOf({ inputs, outputs })).toEqual([
      'age FLOAT',
      'income FLOAT',
      'weight DOUBLE',
      'image UTINYINT[]',
      'photo UTINYINT[]',
      'photo_digest VARCHAR',
      'tokens BIGINT[]',
      'tokens_digest VARCHAR',
      'label_out BIGINT',
      'probabilities FLOAT[]',
    ])
  })

  it('are one per class where the labels of an output are known, under its name, and a list where there are many', () => {
    const labels = Array.from({ length: 101 }, (_, i) => `${i}`)
    const outputs = [
      tensor('output_probability', { shape: [-1, 2], columns: ['no', 'yes'] }),
      tensor('one', { shape: [-1, 1], columns: ['7'] }),
      tensor('many', { shape: [-1, 101], columns: labels }),
    ]
    expect(namesOf({ inputs: [], outputs })).toEqual([
      'output_probability_no FLOAT',
      'output_probability_yes FLOAT',
      'one_7 FLOAT',
      'many FLOAT[]',
    ])
  })

  it("never clash with the lake's own, with each other, or by case", () => {
    const inputs = [tensor('status'), tensor('label'), tensor('x'), tensor('X'), tensor('output_x')]
    const outputs = [tensor('x'), tensor('Label'), tensor('row')]
    expect(namesOf({ inputs, outputs }).map((column) => column.split(' ')[0])).toEqual([
      'input_status',
      'input_label',
      'x',
      'input_X',
      'output_x',
      'output_x_2',
      'output_Label',
      'output_row',
    ])
  })

  it('have what a step made of the inputs behind all else, under names that nothing sent has', () => {
    const inputs = [tensor('size', { shape: [-1, 1], columns: ['size'] }), tensor('fed_size')]
    const fed = [
      tensor('size', { datatype: 'FP64', shape: [-1, 1], columns: ['size'] }),
      tensor('x', { shape: [-1, 2], columns: ['a', 'b'] }),
      tensor('embedding', { shape: [-1, 8] }),
    ]
    expect(namesOf({ inputs, outputs: [tensor('score')], prepared: { fed } })).toEqual([
      'size FLOAT',
      'fed_size FLOAT',
      'score FLOAT',
      'fed_fed_size DOUBLE',
      'fed_a FLOAT',
      'fed_b FLOAT',
      'fed_embedding FLOAT[]',
    ])
  })

  it('have the same digest exactly where names and types are the same', () => {
    const digest = (inputs: TensorSpec[]) => columnsOf({ inputs, outputs: [] }).digest
    expect(digest([tensor('a', { shape: [-1, 1] })])).toBe(digest([tensor('a')]))
    expect(digest([tensor('a')])).not.toBe(digest([tensor('a', { datatype: 'FP64' })]))
    expect(digest([tensor('a')])).not.toBe(digest([tensor('b')]))
  })
})

describe("the lake's own columns", () => {
  it('are fewer in files of before there were gathers, and before there were trials', () => {
    const own = [{ name: 'x', type: 'FLOAT' }]
    const heldOf = (count: number) => metaColumnsOf([...META_COLUMNS.slice(0, count), ...own])
    expect([13, 12, 10].map((count) => heldOf(count).length)).toEqual([13, 12, 10])
    expect([13, 12, 10].map((count) => hasTrials([...META_COLUMNS.slice(0, count), ...own]))).toEqual([
      true,
      true,
      false,
    ])
    expect(heldOf(12).at(-1)).toEqual({ name: 'shadow_of', type: 'VARCHAR' })
  })
})
