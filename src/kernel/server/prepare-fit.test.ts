import { describe, expect, it } from 'vitest'
import type { Signature, TensorSpec } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import { fedTensors, preparedSignature } from './prepare-fit.ts'

const spec = (name: string, facts: Partial<TensorSpec> = {}): TensorSpec => ({
  name,
  datatype: 'FP32',
  shape: [-1, 2],
  columns: null,
  ...facts,
})
const city = spec('city', { datatype: 'BYTES', shape: [-1, 1], columns: ['city'] })
const score = spec('score', { shape: [-1, 1], columns: ['score'] })
const model: Signature = { inputs: [spec('x')], outputs: [score] }
const step = (...outputs: TensorSpec[]): Signature => ({ inputs: [city], outputs })

describe('a step and the model behind it', () => {
  it('take what the step takes and give what the model gives', () => {
    expect(preparedSignature(step(spec('x')), model)).toEqual({
      inputs: [city],
      outputs: [score],
      prepared: { fed: [spec('x')] },
    })
  })

  it('fit where one side leaves open what the other fixes', () => {
    const open = step(spec('x', { shape: [-1, -1] }))
    expect(preparedSignature(open, model).inputs).toEqual([city])
  })

  it('take so many rows at a time as the model does', () => {
    const single = { ...model, inputs: [spec('x', { shape: [1, 2] })] }
    expect(preparedSignature(step(spec('x')), single).inputs).toEqual([{ ...city, shape: [1, 1] }])
  })

  it.each<[string, Signature, string]>([
    ['no such output', step(spec('y')), `the model takes 'x' FP32[-1, 2], which is none of its outputs`],
    ['one output too many', step(spec('x'), spec('y')), `its output 'y' FP32[-1, 2] is no input of the model`],
    ['another type', step(spec('x', { datatype: 'FP64' })), `its output 'x' is FP64, and the model takes FP32`],
    ['another width', step(spec('x', { shape: [-1, 3] })), `its output 'x' is [-1, 3], and the model takes [-1, 2]`],
    ['other axes', step(spec('x', { shape: [-1] })), `its output 'x' is [-1], and the model takes [-1, 2]`],
    [
      'an input that JSON has no word for',
      { inputs: [spec('half', { datatype: 'FP16' })], outputs: [spec('x')] },
      `its input 'half' is FP16, and it is asked in JSON`,
    ],
  ])('are refused with %s, and told what the model takes', (_, unfit, why) => {
    const refusal = expect.objectContaining({
      code: 'MR_PREPARE_FIT',
      message: expect.stringContaining(why),
      fix: expect.stringContaining(`what the model takes: 'x' FP32[-1, 2].`),
    }) as Error
    expect(() => preparedSignature(unfit, model)).toThrow(refusal)
  })

  it('are refused where each fixes another number of rows', () => {
    const two = { inputs: [{ ...city, shape: [2, 1] }], outputs: [spec('x')] }
    const three = { ...model, inputs: [spec('x', { shape: [3, 2] })] }
    expect(() => preparedSignature(two, three)).toThrow('it takes 2 rows at a time, and the model 3')
  })

  it('are refused with every difference at once', () => {
    expect(() => preparedSignature(step(spec('y'), spec('z')), model)).toThrow(
      /which is none of its outputs; its output 'y' .* is no input of the model; its output 'z'/,
    )
  })
})

describe('an answer of a step', () => {
  const x = (facts: Partial<Tensor> = {}): Tensor => ({
    datatype: 'FP32',
    shape: [2, 2],
    data: Float32Array.of(1, 2, 3, 4),
    ...facts,
  })

  it('is what the model is fed, in its order', () => {
    const pair: Signature = { inputs: [spec('a', { shape: [-1, 2] }), spec('b', { shape: [-1, 2] })], outputs: [score] }
    expect(Object.keys(fedTensors({ b: x(), a: x() }, pair, 2))).toEqual(['a', 'b'])
  })

  it.each<[string, Record<string, Tensor>, string]>([
    ['lacks an input', {}, `it did not answer 'x', which the model takes`],
    ['has one more', { x: x(), y: x() }, `it answered 'y', which is no input of the model`],
    ['is of another type', { x: x({ datatype: 'FP64' }) }, `its 'x' is FP64, and the model takes FP32`],
    ['has other rows', { x: x({ shape: [1, 4] }) }, `it answered 1 rows of 'x' where 2 were asked`],
    ['has another width', { x: x({ shape: [2, 1] }) }, `its 'x' is [2, 1], and the model takes [-1, 2]`],
  ])('is of no use where it %s', (_, answered, why) => {
    expect(() => fedTensors(answered, model, 2)).toThrow(
      expect.objectContaining({ code: 'MR_PREPARE_ANSWER', why, isMisfit: true }) as Error,
    )
  })
})
