import { describe, expect, it } from 'vitest'
import type { Tensor } from '../model/tensor.ts'
import { ProtocolError } from './errors.ts'
import { encodeInferAnswer } from './infer-response.ts'
import { isLargeAnswer, LARGE_ANSWER_VALUES, largeAnswer } from './large-answer.ts'

const floats = Float32Array.from({ length: 10_001 }, (_, i) => (i % 7 === 0 ? Number.NaN : i / 3))
const outputs: Record<string, Tensor> = {
  f: { datatype: 'FP32', shape: [10_001], data: floats },
  i: { datatype: 'INT64', shape: [2, 1], data: new BigInt64Array([9007199254740993n, -1n]) },
  b: { datatype: 'BOOL', shape: [5_000], data: Uint8Array.from({ length: 5_000 }, (_, i) => i % 2) },
  t: { datatype: 'BYTES', shape: [4_100], data: Array.from({ length: 4_100 }, (_, i) => `é"${i}`) },
  none: { datatype: 'FP64', shape: [0], data: new Float64Array(0) },
}

function drain<T>(steps: Generator<undefined, T, undefined>): { made: T; steps: number } {
  for (let count = 1; ; count += 1) {
    const step = steps.next()
    if (step.done === true) return { made: step.value, steps: count }
  }
}

describe('a large answer', () => {
  it.each([[[]], [['f']], [['f', 'i', 'b', 't', 'none']], [['t', 'none']]])(
    'is byte for byte the same as one that is written at once, with %j as bytes',
    (names) => {
      for (const id of [null, 'a "b"']) {
        const answer = { modelName: 'm', modelVersion: '3', id, outputs }
        const binary = new Set<string>(names)
        expect(drain(largeAnswer(answer, binary)).made).toEqual(encodeInferAnswer(answer, binary))
      }
    },
  )

  it('is written in steps', () => {
    const answer = { modelName: 'm', modelVersion: '3', id: null, outputs }
    expect(drain(largeAnswer(answer, new Set())).steps).toBeGreaterThan(6)
  })

  it('refuses what JSON can not carry', () => {
    const half: Tensor = { datatype: 'FP16', shape: [1], data: new Uint16Array(1) }
    const answer = { modelName: 'm', modelVersion: '3', id: null, outputs: { half } }
    expect(() => drain(largeAnswer(answer, new Set()))).toThrow(ProtocolError)
  })

  it('is what has so many values as JSON', () => {
    const many: Tensor = { datatype: 'INT8', shape: [LARGE_ANSWER_VALUES], data: new Int8Array(LARGE_ANSWER_VALUES) }
    expect(isLargeAnswer({ many }, new Set())).toBe(true)
    expect(isLargeAnswer({ many }, new Set(['many']))).toBe(false)
    expect(isLargeAnswer(outputs, new Set(['f']))).toBe(false)
  })
})
