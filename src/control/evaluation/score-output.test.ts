import { describe, expect, it } from 'vitest'
import type { Tensor } from '../../kernel/model/tensor.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { findScoreOutput, positiveColumn, readScores } from './score-output.ts'

describe('findScoreOutput', () => {
  it('takes the second column of the probabilities, beside a predicted label', () => {
    const outputs = { label: int64(2), probabilities: floats([2, 2]) }
    expect(findScoreOutput(outputs, 'binary', null, 'm')).toEqual({ output: 'probabilities', index: 1 })
  })

  it('takes the only float output of one number per row', () => {
    expect(findScoreOutput({ y: floats([3, 1]) }, 'binary', null, 'm')).toEqual({ output: 'y', index: null })
    expect(findScoreOutput({ y: floats([3]) }, 'regression', null, 'm')).toEqual({ output: 'y', index: null })
  })

  it('prefers an output that is called probability', () => {
    const outputs = { logits: floats([2, 2]), prob: floats([2]) }
    expect(findScoreOutput(outputs, 'binary', null, 'm')).toEqual({ output: 'prob', index: null })
  })

  it('asks where several could be it, naming them', () => {
    const outputs = { mean: floats([2]), median: floats([2, 1]), wide: floats([2, 5]) }
    expect(() => findScoreOutput(outputs, 'regression', null, 'm')).toThrow(`could be the score: 'mean', 'median'.`)
  })

  it('lists what is there where nothing could be it', () => {
    const outputs = { label: int64(2), classes: floats([2, 5]) }
    expect(() => findScoreOutput(outputs, 'binary', null, 'the model')).toThrow(
      `it has 'label' INT64 [2], 'classes' FP32 [2, 5]`,
    )
  })

  it('follows a declared output, with an index where it is wide', () => {
    const outputs = { label: int64(2), classes: floats([2, 5]) }
    expect(findScoreOutput(outputs, 'binary', 'classes[3]', 'm')).toEqual({ output: 'classes', index: 3 })
    expect(findScoreOutput(outputs, 'regression', 'label', 'm')).toEqual({ output: 'label', index: null })
    expect(() => findScoreOutput(outputs, 'binary', 'classes', 'm')).toThrow('does not say where the score is')
    expect(() => findScoreOutput(outputs, 'binary', 'classes[5]', 'm')).toThrow('does not say where the score is')
    expect(() => findScoreOutput(outputs, 'binary', 'score', 'm')).toThrow(`m has no output 'score'`)
  })

  it('refuses a declared output of text', () => {
    const outputs: Record<string, Tensor> = { word: { datatype: 'BYTES', shape: [2], data: ['a', 'b'] } }
    expect(() => findScoreOutput(outputs, 'binary', 'word', 'm')).toThrow('which holds no numbers')
  })
})

describe('the column of the positive class', () => {
  const signature = (columns: string[] | null): Signature => ({
    inputs: [],
    outputs: [{ name: 'p', datatype: 'FP32', shape: [-1, columns?.length ?? -1], columns }],
  })

  it.each<[string, string[] | null, string | null, number | null]>([
    ['the declared one, also where it comes first', ['leaves', 'stays'], 'leaves', 0],
    ['the usual one', ['False', 'True'], null, 1],
    ['1 of 0 and 1', ['0', '1'], null, 1],
    ['not known where no label is the positive one', ['a', 'b'], null, null],
    ['not known where several could be', ['1', 'yes'], null, null],
    ['not known without labels', null, 'leaves', null],
    ['not a question of a single column', ['1'], null, null],
  ])('is %s', (_what, labels, positive, at) => {
    expect(positiveColumn(signature(labels), positive)('p')).toBe(at)
    expect(positiveColumn(signature(labels), positive)('another')).toBeNull()
  })

  it('is the score, of two classes or of many, before the second column is guessed', () => {
    const at = (index: number | null) => findScoreOutput({ p: floats([2, 2]) }, 'binary', null, 'm', () => index)
    expect([at(0).index, at(null).index]).toEqual([0, 1])
    expect(findScoreOutput({ p: floats([2, 5]) }, 'binary', 'p', 'm', () => 3)).toEqual({ output: 'p', index: 3 })
    expect(() => findScoreOutput({ p: floats([2, 5]) }, 'binary', 'p', 'm', () => 5)).toThrow('does not say where')
  })
})

describe('readScores', () => {
  const run = { task: 'binary', rows: 2, firstRow: 1000, model: 'the model' } as const

  it('picks the column, and holds rounding to the bounds', () => {
    const outputs = { p: floats([2, 2], [0.7, 0.3, -1e-7, 1.0000001]) }
    expect(Array.from(readScores(outputs, { output: 'p', index: 1 }, run))).toEqual([Math.fround(0.3), 1])
  })

  it('names the row of a score that is no number', () => {
    expect(() => readScores({ p: floats([2], [0.5, NaN]) }, { output: 'p', index: null }, run)).toThrow(
      `Output 'p' of the model is NaN at row 1001 of the holdout`,
    )
  })

  it('refuses a raw score where a probability is due, and takes it for a regression', () => {
    const outputs = { p: floats([2], [0.5, 3]) }
    expect(() => readScores(outputs, { output: 'p', index: null }, run)).toThrow(
      'is 3 at row 1001 of the holdout, which is no probability',
    )
    expect(Array.from(readScores(outputs, { output: 'p', index: null }, { ...run, task: 'regression' }))).toEqual([
      0.5, 3,
    ])
  })

  it('refuses an output that is not one per row', () => {
    expect(() => readScores({ p: floats([1], [0.5]) }, { output: 'p', index: null }, run)).toThrow(
      'is FP32 [1] for 2 rows',
    )
  })

  it('reads half precision', () => {
    const half: Tensor = { datatype: 'FP16', shape: [2], data: Uint16Array.of(0x3800, 0x3c00) }
    expect(Array.from(readScores({ p: half }, { output: 'p', index: null }, run))).toEqual([0.5, 1])
  })
})

function floats(shape: number[], values?: number[]): Tensor {
  const length = shape.reduce((a, b) => a * b, 1)
  return { datatype: 'FP32', shape, data: values ? Float32Array.from(values) : new Float32Array(length) }
}

function int64(rows: number): Tensor {
  return { datatype: 'INT64', shape: [rows], data: new BigInt64Array(rows) }
}
