import { describe, expect, it } from 'vitest'
import { ModelRunError } from './errors.ts'
import type { Signature } from './signature.ts'
import { withLearnedRanks } from './signature-of.ts'

const signature: Signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 3], columns: null }],
  outputs: [
    { name: 'score', datatype: 'FP32', shape: [-1], columns: ['score'] },
    { name: 'label', datatype: 'INT64', shape: [-1], columns: ['label'] },
  ],
}

describe('outputs of which the file says no rank', () => {
  it('are as one row of zeros shows them', async () => {
    const learned = await withLearnedRanks(signature, ['score'], (inputs) => {
      expect(inputs['x']).toEqual({ datatype: 'FP32', shape: [1, 3], data: new Float32Array(3) })
      return Promise.resolve({ score: { datatype: 'FP32', shape: [1, 4], data: new Float32Array(4) } })
    })
    expect(learned.outputs).toEqual([
      { name: 'score', datatype: 'FP32', shape: [-1, -1], columns: null },
      signature.outputs[1],
    ])
  })

  it('stay as they were where the model refuses zeros', async () => {
    const refuses = () => Promise.reject(new ModelRunError('m.onnx', new Error('division by zero')))
    expect(await withLearnedRanks(signature, ['score'], refuses)).toBe(signature)
  })

  it('are not guessed where something else went wrong', async () => {
    const breaks = () => Promise.reject(new TypeError('no such buffer'))
    await expect(withLearnedRanks(signature, ['score'], breaks)).rejects.toThrow('no such buffer')
  })
})
