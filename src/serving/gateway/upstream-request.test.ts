import { expect, it } from 'vitest'
import { FEED_HEADER } from '../../kernel/contract/fed.ts'
import type { EndpointRoute, RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { encodeInferRequestBody, parseInferRequest } from '../../kernel/protocol/inference.ts'
import { Cancellation } from '../front/cancellation.ts'
import { upstreamRequest } from './upstream-request.ts'

const route = { endpoint: 'e', model: 'm' } as EndpointRoute
const deployment = (parts: Partial<RoutedDeployment> = {}) =>
  ({ version: '7', signature: { inputs: [], outputs: [] }, ...parts }) as unknown as RoutedDeployment
const call = {
  headers: { 'content-type': 'text/plain', traceparent: '00-1', cookie: 'c' },
  body: Buffer.alloc(0),
  jsonBytes: null,
}
type Sent = { headers: Record<string, string>; body: Buffer; jsonBytes: number | null }

async function sentTo(to: RoutedDeployment, asked: Sent = call, cancellation = new Cancellation()) {
  return (await upstreamRequest(route, to, { ...asked, cancellation }))!
}

it('names the model as its replicas do', async () => {
  const named = async (parts?: Partial<RoutedDeployment>) => {
    const { model, version } = await sentTo(deployment(parts))
    return `${model} ${version}`
  }
  expect(await named()).toBe('m 7')
  expect(await named({ model: 'other' })).toBe('other 7')
  expect(await named({ version: 'spare@3' })).toBe('spare 3')
  expect(await named({ foreignModel: 'mine' })).toBe('mine ')
})

it('asks what a model was fed exactly where that is not the request', async () => {
  const signature: Signature = { inputs: [], outputs: [] }
  const asks = async (parts: Partial<Signature>) =>
    (await sentTo(deployment({ signature: { ...signature, ...parts } }))).headers.includes(FEED_HEADER)
  expect(await asks({})).toBe(false)
  expect(await asks({ enriched: { asked: [], keys: [] } })).toBe(true)
  expect(await asks({ prepared: { fed: [] } })).toBe(true)
})

it('puts binary tensors into JSON for a server of someone else, and leaves to it what can not be put so', async () => {
  const signature: Signature = { inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: null }], outputs: [] }
  const { body, jsonBytes } = encodeInferRequestBody(
    { id: 'a', inputs: { x: { datatype: 'FP32', shape: [1, 2], data: Float32Array.of(1.5, -2) } } },
    { binaryInputs: 'all' },
  )
  const foreign = deployment({ foreignModel: 'mine', signature })
  const sent = await sentTo(foreign, { headers: {}, body, jsonBytes })
  expect(sent).toMatchObject({ jsonBytes: null, answerAs: { model: 'm', version: '7' } })
  expect(JSON.parse(sent.body.toString())).toEqual({
    id: 'a',
    inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [1.5, -2] }],
  })
  const short = { headers: {}, body: body.subarray(0, -1), jsonBytes }
  expect(await sentTo(foreign, short)).toMatchObject({ body: short.body, jsonBytes })
  expect(await sentTo(deployment({ signature }), { headers: {}, body, jsonBytes })).toMatchObject({
    body,
    jsonBytes,
  })
})

it("hands on what means something to the model, and to a server of someone else no type but the protocol's", async () => {
  expect((await sentTo(deployment())).headers).toEqual(['content-type', 'text/plain', 'traceparent', '00-1'])
  expect((await sentTo(deployment({ foreignModel: 'mine' }))).headers).toEqual(['traceparent', '00-1'])
})

it('writes much of it in turns, between which others have theirs, and stops once nobody waits', async () => {
  const signature: Signature = { inputs: [{ name: 'x', datatype: 'FP64', shape: [-1], columns: null }], outputs: [] }
  const data = Float64Array.from({ length: 300_000 }, (_, i) => i / 7)
  const large = encodeInferRequestBody(
    { inputs: { x: { datatype: 'FP64', shape: [data.length], data } } },
    { binaryInputs: 'all' },
  )
  const foreign = deployment({ foreignModel: 'mine', signature })
  let turns = 0
  const count = (): void => {
    turns += 1
    next = setImmediate(count)
  }
  let next = setImmediate(count)
  const sent = await sentTo(foreign, { headers: {}, ...large })
  clearImmediate(next)
  expect(turns).toBeGreaterThan(4)
  const read = parseInferRequest(sent.body, signature)
  expect(read.inputs['x']?.data).toEqual(data)
  const left = new Cancellation()
  const made = upstreamRequest(route, foreign, { headers: {}, ...large, cancellation: left })
  left.cancel('client-gone')
  expect(await made).toBe(null)
})
