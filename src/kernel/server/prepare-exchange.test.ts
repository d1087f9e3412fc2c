import { describe, expect, it } from 'vitest'
import type { Signature } from '../model/signature.ts'
import { prepareBody, verdictOf } from './prepare-exchange.ts'

const model: Signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: null }],
  outputs: [{ name: 'score', datatype: 'FP32', shape: [-1, 1], columns: ['score'] }],
}
const answer = (status: number, body: unknown) => ({
  status,
  jsonBytes: null,
  body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
})
const outputs = (data: unknown[], shape = [1, 2]) => ({ outputs: [{ name: 'x', datatype: 'FP32', shape, data }] })

describe('a request to a step', () => {
  it('has the inputs and nothing else', () => {
    const size = { datatype: 'FP32' as const, shape: [2, 1], data: Float32Array.of(1, 2.5) }
    expect(JSON.parse(prepareBody({ size }).toString())).toEqual({
      inputs: [{ name: 'size', datatype: 'FP32', shape: [2, 1], data: [1, 2.5] }],
    })
  })

  it('is none where JSON has no word for a value', () => {
    const size = { datatype: 'FP32' as const, shape: [2, 1], data: Float32Array.of(1, NaN) }
    expect(() => prepareBody({ size })).toThrow(`input 'size' is NaN in row 1 of 2`)
  })
})

describe('what became of a request to a step', () => {
  it('is what the model is fed, with null for what is missing', () => {
    const verdict = verdictOf(answer(200, outputs([1, null])), model, 1)
    expect(verdict).toEqual({
      kind: 'fed',
      fed: { x: { datatype: 'FP32', shape: [1, 2], data: Float32Array.of(1, NaN) } },
    })
  })

  it.each<[string, number, unknown, 400 | 413, string]>([
    ["in the protocol's words", 400, { error: 'no such city' }, 400, 'no such city'],
    ['in those of a web framework', 422, { detail: 'no such city' }, 400, 'no such city'],
    ['in plain text', 404, 'no such city\n', 400, 'no such city'],
    ['for its size', 413, { error: 'too large' }, 413, 'too large'],
    ['without a word', 400, '', 400, 'it gave no reason'],
  ])('is a refusal of the values, %s', (_, status, body, passed, why) => {
    expect(verdictOf(answer(status, body), model, 1)).toEqual({ kind: 'refused', status: passed, why })
  })

  it.each([429, 503])('is that another one may answer, on %i', (status) => {
    const why = `it answered with ${status}: later`
    expect(verdictOf(answer(status, { error: 'later' }), model, 1)).toEqual({ kind: 'busy', why })
  })

  it.each<[string, number, unknown, string, boolean]>([
    ['says so', 500, { error: 'boom' }, 'it answered with 500: boom', false],
    ['sends elsewhere', 302, '', 'it answered with 302: it gave no reason', false],
    ['does not speak the protocol', 200, '<html>', 'The answer is not valid JSON', true],
    ['has no outputs', 200, {}, `The answer has no 'outputs'`, true],
    ['has other rows', 200, outputs([1, 2, 3, 4], [2, 2]), `it answered 2 rows of 'x' where 1 were asked`, true],
    ['has values of another type', 200, outputs(['one', 2]), 'value 0 is "one"', true],
  ])('is a failure where it %s', (_, status, body, why, isMisfit) => {
    expect(verdictOf(answer(status, body), model, 1)).toMatchObject({
      kind: 'failed',
      error: { code: 'MR_PREPARE_ANSWER', why: expect.stringContaining(why), isMisfit },
    })
  })

  it('tells long words cut short', () => {
    const verdict = verdictOf(answer(500, 'x'.repeat(10_000)), model, 1)
    expect(verdict.kind === 'failed' && verdict.error.message.length).toBeLessThan(600)
  })
})
