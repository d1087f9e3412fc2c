import { expect, it } from 'vitest'
import type { Signature, TensorSpec } from '../model/signature.ts'
import { gatherSignature } from './gather-signature.ts'

const spec = (name: string, datatype: TensorSpec['datatype'], shape: number[] = [-1]): TensorSpec => ({
  name,
  datatype,
  shape,
  columns: null,
})
const x = spec('x', 'FP32', [-1, 2])
const voice = (name: string, outputs: TensorSpec[], inputs: TensorSpec[] = [x]) => ({
  name,
  signature: { inputs, outputs } satisfies Signature,
})
const label = spec('label', 'INT64')
const p = spec('p', 'FP32', [-1, 2])

it('takes what its first member takes, and gives what is combined', () => {
  const members = [voice('a@1', [label, p]), voice('b@4', [label, p])]
  const outputs = (kind: Parameters<typeof gatherSignature>[0]) =>
    gatherSignature(kind, members).signature.outputs.map(({ name, datatype }) => `${name} ${datatype}`)
  expect(gatherSignature('mean', members).signature.inputs).toEqual([x])
  expect(outputs('mean')).toEqual(['p FP32'])
  expect(outputs('vote')).toEqual(['label INT64'])
  expect(outputs('first')).toEqual(['label INT64', 'p FP32'])
  expect(outputs('all')).toEqual(['a@1/label INT64', 'a@1/p FP32', 'b@4/label INT64', 'b@4/p FP32'])
})

it('averages integers as FP64 where there is nothing else', () => {
  const { signature } = gatherSignature('weighted', [voice('a@1', [spec('rings', 'INT32')])])
  expect(signature.outputs).toEqual([spec('rings', 'FP64')])
})

it.each<[string, ReturnType<typeof voice>, RegExp]>([
  ['another input', voice('b@1', [p], [x, spec('z', 'FP32')]), /takes an input 'z', which a@1 does not/],
  ['no such input', voice('b@1', [p], []), /has no input 'x', as a@1 has/],
  [
    'an input of another type',
    voice('b@1', [p], [spec('x', 'FP64', [-1, 2])]),
    /input 'x' is FP64, that of a@1 is FP32/,
  ],
  [
    'an input of another width',
    voice('b@1', [p], [spec('x', 'FP32', [-1, 3])]),
    /shape \[-1, 3\], that of a@1 \[-1, 2\]/,
  ],
  ['an output of another shape', voice('b@1', [spec('p', 'FP32', [-1, 3])]), /output 'p' has the shape \[-1, 3\]/],
  ['no such output', voice('b@1', [label]), /has no output 'p'/],
])('knows a misfit by %s', (_what, other, why) => {
  expect(gatherSignature('mean', [voice('a@1', [p]), other]).misfits).toEqual([
    { member: 'b@1', why: expect.stringMatching(why) as string },
  ])
})

it('takes a dynamic axis for any, and outputs that are not combined for what they are', () => {
  const wide = voice('b@1', [spec('p', 'FP32', [-1, -1]), spec('extra', 'BYTES')], [spec('x', 'FP32', [8, 2])])
  expect(gatherSignature('mean', [voice('a@1', [p]), wide]).misfits).toEqual([])
  expect(gatherSignature('all', [voice('a@1', [p]), voice('b@1', [label])]).misfits).toEqual([])
})

it('fits nobody where the first has nothing that could be combined', () => {
  const { misfits, signature } = gatherSignature('vote', [voice('a@1', [p]), voice('b@1', [label])])
  expect(misfits.map(({ member }) => member)).toEqual(['a@1', 'b@1'])
  expect(signature.outputs).toEqual([])
})
