import { expect, it } from 'vitest'
import type { Signature } from '../../../kernel/model/signature.ts'
import { foreignAnswer } from './foreign-answer.ts'
import type { UpstreamAnswer, UpstreamRequest } from './upstream.ts'

const ROWS = 400_000
const list = `[${Array.from({ length: ROWS }, (_, i) => i % 1_000).join(',')}]`
const signature: Signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1], columns: null }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1], columns: null }],
}
const answerAs = { model: 'ours', version: '7', signature }
const tensor = (name: string) => `{"name":"${name}","datatype":"FP32","shape":[${ROWS}],"data":${list}}`
const request: UpstreamRequest = {
  model: 'theirs',
  version: '',
  headers: [],
  body: Buffer.from(`{"inputs":[${tensor('x')}]}`),
  jsonBytes: null,
}
const answer: UpstreamAnswer = {
  status: 200,
  headers: new Map(),
  body: Buffer.from(`{"outputs":[${tensor('y')}]}`),
  jsonBytes: null,
}

it('reads a large answer in turns, between which others have theirs', async () => {
  let turns = 0
  const count = (): void => {
    turns += 1
    next = setImmediate(count)
  }
  let next = setImmediate(count)
  const { status, body } = await foreignAnswer(answer, request, answerAs, () => true)
  clearImmediate(next)
  expect(status).toBe(200)
  expect(body.toString('utf8', 0, 60)).toMatch(/^\{"model_name":"ours","model_version":"7","outputs":\[/)
  expect(body.length).toBeGreaterThan(list.length)
  expect(turns).toBeGreaterThan(4)
})

it('stops reading once nobody waits for it', async () => {
  const given = foreignAnswer(answer, request, answerAs, () => false)
  await expect(given).rejects.toMatchObject({ fault: 'aborted' })
})
