import { expect, it } from 'vitest'
import { FEED_HEADER } from '../../kernel/contract/fed.ts'
import type { EndpointRoute, RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { encodeInferRequestBody } from '../../kernel/protocol/inference.ts'
import { upstreamRequest } from './upstream-request.ts'

const route = { endpoint: 'e', model: 'm' } as EndpointRoute
const deployment = (parts: Partial<RoutedDeployment> = {}) =>
  ({ version: '7', signature: { inputs: [], outputs: [] }, ...parts }) as unknown as RoutedDeployment
const call = {
  headers: { 'content-type': 'text/plain', traceparent: '00-1', cookie: 'c' },
  body: Buffer.alloc(0),
  jsonBytes: null,
}

it('names the model as its replicas do', () => {
  const named = (parts?: Partial<RoutedDeployment>) => {
    const { model, version } = upstreamRequest(route, deployment(parts), call)
    return `${model} ${version}`
  }
  expect(named()).toBe('m 7')
  expect(named({ model: 'other' })).toBe('other 7')
  expect(named({ version: 'spare@3' })).toBe('spare 3')
  expect(named({ foreignModel: 'mine' })).toBe('mine ')
})

it('asks what a model was fed exactly where that is not the request', () => {
  const signature: Signature = { inputs: [], outputs: [] }
  const asks = (parts: Partial<Signature>) =>
    upstreamRequest(route, deployment({ signature: { ...signature, ...parts } }), call).headers.includes(FEED_HEADER)
  expect(asks({})).toBe(false)
  expect(asks({ enriched: { asked: [], keys: [] } })).toBe(true)
  expect(asks({ prepared: { fed: [] } })).toBe(true)
})

it('puts binary tensors into JSON for a server of someone else, and leaves to it what can not be put so', () => {
  const signature: Signature = { inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: null }], outputs: [] }
  const { body, jsonBytes } = encodeInferRequestBody(
    { id: 'a', inputs: { x: { datatype: 'FP32', shape: [1, 2], data: Float32Array.of(1.5, -2) } } },
    { binaryInputs: 'all' },
  )
  const foreign = deployment({ foreignModel: 'mine', signature })
  const sent = upstreamRequest(route, foreign, { headers: {}, body, jsonBytes })
  expect(sent).toMatchObject({ jsonBytes: null, answerAs: { model: 'm', version: '7' } })
  expect(JSON.parse(sent.body.toString())).toEqual({
    id: 'a',
    inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [1.5, -2] }],
  })
  const short = { headers: {}, body: body.subarray(0, -1), jsonBytes }
  expect(upstreamRequest(route, foreign, short)).toMatchObject({ body: short.body, jsonBytes })
  expect(upstreamRequest(route, deployment({ signature }), { headers: {}, body, jsonBytes })).toMatchObject({
    body,
    jsonBytes,
  })
})

it("hands on what means something to the model, and to a server of someone else no type but the protocol's", () => {
  expect(upstreamRequest(route, deployment(), call).headers).toEqual([
    'content-type',
    'text/plain',
    'traceparent',
    '00-1',
  ])
  expect(upstreamRequest(route, deployment({ foreignModel: 'mine' }), call).headers).toEqual(['traceparent', '00-1'])
})
