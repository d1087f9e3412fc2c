import { describe, expect, it } from 'vitest'
import type { Datatype } from '../../../kernel/model/signature.ts'
import type { Tensor, TensorData } from '../../../kernel/model/tensor.ts'
import { combine } from './combine.ts'
import type { Combined, MemberAnswer } from './combine.ts'

const tensor = (datatype: Datatype, shape: number[], data: TensorData): Tensor => ({ datatype, shape, data })
const floats = (...values: number[]): Tensor => tensor('FP64', [values.length], Float64Array.from(values))
const texts = (...values: string[]): Tensor => tensor('BYTES', [values.length], values)

function answer(name: string, outputs: Record<string, Tensor>, weight = 1): MemberAnswer {
  return { name, weight, outputs }
}

function outputsOf(combined: Combined): Record<string, Tensor> {
  if (combined.kind === 'misfits') throw new Error(JSON.stringify(combined.misfits))
  return combined.outputs
}

describe('the mean of answers', () => {
  const two = [answer('a@1', { p: floats(0.25, 1) }), answer('b@1', { p: floats(0.75, 0) }, 3)]

  it('is taken element by element, by weights where asked', () => {
    expect(outputsOf(combine('mean', two))).toEqual({ p: floats(0.5, 0.5) })
    expect(outputsOf(combine('weighted', two))).toEqual({ p: floats(0.625, 0.25) })
  })

  it('keeps FP32 as FP32, and makes FP64 of integers where there is nothing else', () => {
    const single = [1, 2].map((n) => answer(`m@${n}`, { p: tensor('FP32', [1], Float32Array.of(n)) }))
    expect(outputsOf(combine('mean', single)).p).toEqual(tensor('FP32', [1], Float32Array.of(1.5)))
    const counts = [1n, 4n].map((n) => answer(`m@${n}`, { rings: tensor('INT64', [1], BigInt64Array.of(n)) }))
    expect(outputsOf(combine('mean', counts)).rings).toEqual(floats(2.5))
  })

  it('leaves labels out where there are probabilities', () => {
    const both = [0, 1].map((n) => answer(`m@${n}`, { label: texts('yes'), p: floats(n) }))
    expect(outputsOf(combine('mean', both))).toEqual({ p: floats(0.5) })
  })

  it('is missing where one answer is', () => {
    const holed = [answer('a@1', { p: floats(Number.NaN, 1) }), answer('b@1', { p: floats(1, 1) })]
    expect(outputsOf(combine('mean', holed)).p?.data).toEqual(Float64Array.of(Number.NaN, 1))
  })

  it('is that of a single answer where only one came', () => {
    expect(outputsOf(combine('weighted', [answer('a@1', { p: floats(0.1, 0.2) }, 7)]))).toEqual({ p: floats(0.1, 0.2) })
  })

  it('of many answers lies between the smallest and the largest', () => {
    let state = 7
    const next = (): number => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31
    for (let round = 0; round < 200; round++) {
      const answers = Array.from({ length: 5 }, (_, i) => answer(`m@${i}`, { p: floats(next()) }, 1 + next()))
      const values = answers.map(({ outputs }) => outputs.p!.data[0] as number)
      const mean = outputsOf(combine('weighted', answers)).p!.data[0] as number
      expect(mean).toBeGreaterThanOrEqual(Math.min(...values))
      expect(mean).toBeLessThanOrEqual(Math.max(...values))
    }
  })
})

describe('a vote', () => {
  it('goes to the value with most weight, for each element', () => {
    const answers = [
      answer('a@1', { label: texts('late', 'late') }),
      answer('b@1', { label: texts('ontime', 'late') }),
      answer('c@1', { label: texts('ontime', 'ontime') }),
    ]
    expect(outputsOf(combine('vote', answers))).toEqual({ label: texts('ontime', 'late') })
    const heavy = [answer('a@1', { label: texts('late', 'late') }, 3), ...answers.slice(1)]
    expect(outputsOf(combine('vote', heavy)).label).toEqual(texts('late', 'late'))
  })

  it('goes to the earlier member where weights are equal', () => {
    const answers = ['late', 'ontime'].map((label) => answer(`${label}@1`, { label: texts(label) }))
    expect(outputsOf(combine('vote', answers)).label).toEqual(texts('late'))
    expect(outputsOf(combine('vote', answers.toReversed())).label).toEqual(texts('ontime'))
  })

  it('is on integers of any size, and on true and false', () => {
    const large = [2n ** 62n, 2n ** 62n, 1n].map((n, i) =>
      answer(`m@${i}`, { n: tensor('INT64', [1], BigInt64Array.of(n)) }),
    )
    expect(outputsOf(combine('vote', large)).n).toEqual(tensor('INT64', [1], BigInt64Array.of(2n ** 62n)))
    const flags = [1, 0, 1].map((n, i) => answer(`m@${i}`, { on: tensor('BOOL', [1], Uint8Array.of(n)) }))
    expect(outputsOf(combine('vote', flags)).on).toEqual(tensor('BOOL', [1], Uint8Array.of(1)))
  })
})

it('gives all outputs under their members, and those of the first as they are', () => {
  const answers = [answer('a@1', { p: floats(1) }), answer('b@2', { p: floats(2), label: texts('x') })]
  expect(outputsOf(combine('all', answers))).toEqual({
    'a@1/p': floats(1),
    'b@2/p': floats(2),
    'b@2/label': texts('x'),
  })
  expect(outputsOf(combine('first', answers.slice(1)))).toEqual(answers[1]!.outputs)
})

describe('answers that do not fit', () => {
  const first = answer('a@1', { p: floats(1, 2) })

  it.each<[string, MemberAnswer, RegExp]>([
    ['has another shape', answer('b@1', { p: floats(1) }), /its 'p' has the shape \[1\], that of a@1 \[2\]/],
    [
      'has another type',
      answer('b@1', { p: tensor('FP32', [2], new Float32Array(2)) }),
      /is FP32, that of a@1 is FP64/,
    ],
    ['lacks the output', answer('b@1', { q: floats(1, 2) }), /answered without 'p'/],
  ])('are named with the member that %s', (_what, other, why) => {
    expect(combine('mean', [first, other])).toEqual({
      kind: 'misfits',
      misfits: [{ member: 'b@1', why: expect.stringMatching(why) as string }],
    })
  })

  it('are said where there is nothing to combine at all', () => {
    expect(combine('vote', [first])).toEqual({
      kind: 'misfits',
      misfits: [{ member: 'a@1', why: expect.stringMatching(/labels to vote on/) as string }],
    })
    expect(combine('mean', [answer('a@1', { label: texts('x') })]).kind).toBe('misfits')
  })
})
