import { describe, expect, it } from 'vitest'
import type { Signature, TensorSpec } from '../../kernel/model/signature.ts'
import { incompatibilities } from './signature-compatibility.ts'

describe('incompatibilities', () => {
  it('finds none between a signature and itself', () => {
    expect(incompatibilities(signature(), signature())).toEqual([])
  })

  it.each<[string, Partial<TensorSpec>, string]>([
    ['another type', { datatype: 'FP64' }, `input 'x' is FP64, was FP32`],
    ['another width', { shape: [-1, 3] }, `input 'x' has shape [-1, 3], had [-1, 2]`],
    ['a fixed batch', { shape: [1, 2] }, `input 'x' has shape [1, 2], had [-1, 2]`],
    ['another order', { columns: ['b', 'a'] }, `input 'x' has its columns in another order`],
    ['another column', { columns: ['a', 'c'] }, `input 'x' lost column b`],
    ['another name', { name: 'z' }, `input 'x' is gone`],
  ])('names an input of %s', (_, change, expected) => {
    expect(incompatibilities(signature(change), signature())[0]).toBe(expected)
  })

  it('names inputs that callers do not send and outputs that they would miss', () => {
    const wider = signature()
    wider.inputs.push({ name: 'extra', datatype: 'FP32', shape: [-1, 1], columns: ['extra'] })
    wider.outputs = [{ name: 'score', datatype: 'FP32', shape: [-1, 2], columns: null }]
    expect(incompatibilities(wider, signature())).toEqual([
      `input 'extra' is new: callers don't send it`,
      `output 'probabilities' is gone`,
    ])
  })

  it('allows one more output, a batch that has become dynamic, and an output whose shape was open', () => {
    const ours = signature()
    ours.outputs.push({ name: 'label', datatype: 'INT64', shape: [-1], columns: ['label'] })
    const theirs = signature({ shape: [1, 2] })
    theirs.outputs[0]!.shape = [-1]
    expect(incompatibilities(ours, theirs)).toEqual([])
  })

  it('is about what callers send where a step prepares it, and not about what the step makes of it', () => {
    const fed = (name: string): TensorSpec => ({ name, datatype: 'FP32', shape: [-1, 9], columns: null })
    const prepared: Signature = { ...signature(), prepared: { fed: [fed('embedding')] } }
    expect(incompatibilities(prepared, signature())).toEqual([])
    expect(incompatibilities({ ...prepared, prepared: { fed: [fed('words')] } }, prepared)).toEqual([])
    const asked = { ...signature({ name: 'text' }), prepared: { fed: signature().inputs } }
    expect(incompatibilities(asked, signature())).toEqual([
      `input 'x' is gone`,
      `input 'text' is new: callers don't send it`,
    ])
  })

  it('is about what callers send where tables give the rest; whoever sends all of it is served too', () => {
    const key: TensorSpec = { name: 'id', datatype: 'BYTES', shape: [-1], columns: ['id'] }
    const x: TensorSpec = { name: 'x', datatype: 'FP32', shape: [-1, 1], columns: ['a'] }
    const enriched: Signature = { ...signature(), enriched: { asked: [x, key], keys: [key] } }
    expect(incompatibilities(enriched, enriched)).toEqual([])
    expect(incompatibilities(enriched, signature())).toEqual([])
    expect(incompatibilities(signature(), enriched)).toEqual([
      `input 'x' has shape [-1, 2], had [-1, 1]`,
      `input 'id' is gone`,
    ])
  })
})

function signature(input: Partial<TensorSpec> = {}): Signature {
  return {
    inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['a', 'b'], ...input }],
    outputs: [{ name: 'probabilities', datatype: 'FP32', shape: [-1, 2], columns: null }],
  }
}
