import { deflateSync, gunzipSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import { factsOf, fakePlane, inferAnswerOf, requestOf } from '../../../testing/fake-plane.ts'
import { errorAnswer, jsonAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'
import type { HttpHandler, HttpRequest } from '../http/http-front.ts'
import type { ExtraRoute } from './extras.ts'
import { restHandler } from './rest.ts'

/** As a front does: by the head first, then with the body. */
async function ask(handler: HttpHandler, request: HttpRequest): Promise<Answer> {
  const admission = handler.admit(request)
  if (admission.kind === 'answer') return admission.answer
  expect(request.body.length).toBeLessThanOrEqual(admission.limitBytes)
  const answer = await handler.serve(request)
  if (answer === null) throw new Error('nobody was left to answer')
  return answer
}

const get = (handler: HttpHandler, target: string): Promise<Answer> => ask(handler, requestOf('GET', target))
const post = (
  handler: HttpHandler,
  target: string,
  body: string | Buffer = '',
  headers: HttpRequest['headers'] = {},
): Promise<Answer> => ask(handler, requestOf('POST', target, { body: Buffer.from(body), headers }))

function header({ headers }: Answer, name: string): string | undefined {
  const at = headers.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === name)
  return at < 0 ? undefined : headers[at + 1]
}

const jsonOf = ({ body }: Answer): unknown => JSON.parse(body.toString())
const seen = (answer: Answer): unknown[] => [answer.status, jsonOf(answer)]

describe('a request of a protocol that is made into another', () => {
  const large = () => fakePlane([factsOf('m', { bodyLimitBytes: 100_000_000 })])
  const headers = { 'content-length': '40000000' }

  it.each(['/v1/models/m:predict', '/endpoints/m/invocations', '/invocations'])(
    'is refused by its head where it is large, with what to do instead: %s',
    (target) => {
      const admission = restHandler(large()).admit(requestOf('POST', target, { headers }))
      expect(admission).toMatchObject({ kind: 'answer', answer: { status: 413 } })
      expect(JSON.stringify((admission as { answer: Answer }).answer.body.toString())).toContain('binary tensors')
      const chunked = restHandler(large()).admit(requestOf('POST', target))
      expect(chunked).toEqual({ kind: 'read', limitBytes: 32 * 1024 * 1024 })
    },
  )

  it('gives no answer that is larger', async () => {
    const plane = large()
    const body = Buffer.from(`{"outputs":[],"x":"${'x'.repeat(33 * 1024 * 1024)}"}`)
    plane.answers.push({ status: 200, headers: [], body, jsonBytes: null })
    const answer = await post(restHandler(plane), '/v1/models/m:predict', '{"instances":[[1,2]]}')
    expect(answer.status).toBe(500)
    expect(answer.body.toString()).toContain('over v2')
  })

  it('over v2 takes all that its model takes', () => {
    const admission = restHandler(large()).admit(requestOf('POST', '/v2/models/m/infer', { headers }))
    expect(admission).toEqual({ kind: 'read', limitBytes: 100_000_000 })
  })
})

describe('a caller that is held to some models', () => {
  const callers = (endpoints: readonly string[] | null) => ({
    callerOf: () => ({ kind: 'caller', name: 'clinic', endpoints }) as const,
  })
  const plane = () => fakePlane([factsOf('a'), factsOf('b'), factsOf('c')])

  it('hears of these alone in every list', async () => {
    const handler = restHandler(plane(), callers(['b', 'c']))
    const names = async (answer: Promise<Answer>, key?: string) => {
      const json = jsonOf(await answer) as Record<string, { name: string }[]>
      return (key === undefined ? (json as unknown as { name: string }[]) : json[key]!).map(({ name }) => name)
    }
    expect(await names(post(handler, '/v2/repository/index'))).toEqual(['b', 'c'])
    expect(await names(get(handler, '/v2/models/stats'), 'model_stats')).toEqual(['b', 'c'])
    expect(jsonOf(await get(handler, '/v1/models'))).toEqual({ models: ['b', 'c'] })
    expect(await names(get(handler, '/v2/models/b/stats'), 'model_stats')).toEqual(['b'])
  })

  it.each([
    ['GET', '/ping'],
    ['GET', '/version'],
    ['POST', '/invocations'],
  ])('is told of these alone where it must name one: %s %s', async (method, target) => {
    const handler = restHandler(plane(), callers(['b']))
    const answer = await ask(handler, requestOf(method, target))
    expect(answer.status).toBe(404)
    expect(answer.body.toString()).toContain('/endpoints/NAME/…: b.')
  })

  it('hears of all where it is held to none', async () => {
    const handler = restHandler(plane(), callers(null))
    expect(jsonOf(await get(handler, '/v1/models'))).toEqual({ models: ['a', 'b', 'c'] })
  })
})

describe('health', () => {
  it('is said at once, by the head of the request alone', () => {
    const handler = restHandler(fakePlane())
    for (const path of [
      '/livez',
      '/readyz',
      '/v2/health/live',
      '/v2/health/ready',
      '/v2/models/m/ready',
      '/ping',
      '/',
    ]) {
      expect(handler.admit(requestOf('GET', path))).toMatchObject({ kind: 'answer', answer: { status: 200 } })
    }
  })

  it('of the process is not ready while the data plane is not, and while draining, though it lives', async () => {
    const waiting = fakePlane([factsOf('m')], { readiness: () => ({ ready: false, why: 'no routes yet' }) })
    expect(seen(await get(restHandler(waiting), '/readyz'))).toEqual([503, { error: 'no routes yet' }])
    expect(seen(await get(restHandler(waiting), '/livez'))).toEqual([200, { live: true }])
    const draining = restHandler(fakePlane(), { isDraining: () => true })
    for (const path of ['/readyz', '/v2/health/ready', '/v2/models/m/ready', '/v1/models/m', '/endpoints/m/ping']) {
      expect(seen(await get(draining, path))).toEqual([503, { error: 'Not ready: draining' }])
    }
    expect((await get(draining, '/livez')).status).toBe(200)
  })

  it('of a model is 404 for an unknown one and 503 with Retry-After for one that is not ready', async () => {
    const handler = restHandler(
      fakePlane([factsOf('m')], {
        modelReadiness: (name) => {
          if (name === 'm') return { ready: false, why: 'no replica' }
          throw new ProtocolError(404, `Request for unknown model: '${name}' is not found`)
        },
      }),
    )
    const notReady = await get(handler, '/v2/models/m/ready')
    expect(seen(notReady)).toEqual([503, { error: 'no replica' }])
    expect(header(notReady, 'retry-after')).toBe('1')
    expect(seen(await get(handler, '/v2/models/x/ready'))).toEqual([
      404,
      { error: `Request for unknown model: 'x' is not found` },
    ])
  })
})

describe('a request line', () => {
  it.each([
    ['GET', '/nothing/here?x=1', 404, `There is nothing at '/nothing/here'.`],
    ['POST', '/v2/models/%zz/infer', 400, 'Bad path: the model or version in the path is empty, too long'],
    ['GET', '/v2/models/m/infer', 405, 'Use POST here, not GET.'],
    ['POST', '/v2/health/live', 405, 'Use GET here, not POST.'],
    ['DELETE', '/v2', 405, 'Use GET here, not DELETE.'],
    ['GET', '/v2/models/x', 404, `Request for unknown model: 'x' is not found`],
    ['GET', '/v2/models/m/versions/9', 404, `Request for unknown model: 'm' is not found in version '9'`],
    ['POST', '/v2/models/x/infer', 404, `Request for unknown model: 'x' is not found`],
    ['POST', '/v1/models/x:predict', 404, `Request for unknown model: 'x' is not found`],
  ])('%s %s gets %i', async (method, path, status, says) => {
    const answer = await ask(restHandler(fakePlane()), requestOf(method, path))
    expect(answer.status).toBe(status)
    expect(header(answer, 'content-type')).toBe('application/json')
    expect(jsonOf(answer)).toEqual({ error: expect.stringContaining(says) })
  })

  it('with a wrong method is told the right one', async () => {
    expect(header(await ask(restHandler(fakePlane()), requestOf('GET', '/v2/models/m/infer')), 'allow')).toBe('POST')
    expect(header(await ask(restHandler(fakePlane()), requestOf('PUT', '/v2')), 'allow')).toBe('GET, HEAD')
  })

  it('is understood the same after thousands of others', async () => {
    const handler = restHandler(fakePlane())
    for (let i = 0; i < 2_000; i++) expect((await get(handler, `/livez?${i}`)).status).toBe(200)
    expect((await get(handler, '/v2/models/m')).status).toBe(200)
  })
})

describe('inference', () => {
  const INFER = '/v2/models/m/infer'

  it('hands the request on as it came, and gives the answer with the Content-Type of its form', async () => {
    const plane = fakePlane()
    const handler = restHandler(plane)
    const answer = await post(handler, '/v2/models/m/versions/1/infer?x=1', '{"inputs":[]}', { traceparent: '00-1' })
    expect(plane.calls).toMatchObject([
      { name: 'm', version: '1', jsonBytes: null, caller: 'anonymous', headers: { traceparent: '00-1' } },
    ])
    expect(plane.calls[0]?.body.toString()).toBe('{"inputs":[]}')
    expect(answer.headers).toEqual(['Content-Type', 'application/json'])
  })

  it('reads the length of the JSON, and refuses one that can not be', async () => {
    const plane = fakePlane()
    const handler = restHandler(plane)
    const lengths = async (length: string): Promise<unknown> =>
      (await post(handler, INFER, '{"a":1}xxxx', { 'inference-header-content-length': length })).status
    expect(await lengths('7')).toBe(200)
    expect(await lengths('0')).toBe(200)
    expect(await lengths('11')).toBe(200)
    expect(plane.calls.map(({ jsonBytes }) => jsonBytes)).toEqual([7, 0, 11])
    for (const wrong of ['12', '-1', 'x', '7.5', '']) expect(await lengths(wrong)).toBe(400)
    expect(plane.calls).toHaveLength(3)
  })

  it('says the length of the JSON where bytes follow it, and keeps what else the data plane says', async () => {
    const plane = fakePlane()
    const body = Buffer.from('{}binary')
    const headers = ['content-type', 'x/y', 'Inference-Header-Content-Length', '9', 'millrace-model-version', '1']
    plane.answers.push({ status: 200, headers, body, jsonBytes: 2 })
    const answer = await post(restHandler(plane), INFER, '{}')
    expect(answer.headers).toEqual([
      'Content-Type',
      'application/octet-stream',
      'Inference-Header-Content-Length',
      '2',
      'millrace-model-version',
      '1',
    ])
    expect(answer.body).toBe(body)
  })

  it('passes errors on as they are, puts others into the words of the protocol, and throws defects', async () => {
    const plane = fakePlane()
    const handler = restHandler(plane)
    plane.answers.push({ ...errorAnswer(502, 'lost', ['x-y', 'z']), jsonBytes: null })
    const passed = await post(handler, INFER, '{}')
    expect([...seen(passed), header(passed, 'x-y')]).toEqual([502, { error: 'lost' }, 'z'])
    plane.answers.push({
      status: 500,
      headers: ['content-type', 'text/html'],
      body: Buffer.from('<p>'),
      jsonBytes: null,
    })
    const html = await post(handler, INFER, '{}')
    expect([...seen(html), header(html, 'content-type')]).toEqual([500, { error: '<p>' }, 'application/json'])
    plane.answers.push(new ProtocolError(503, 'busy'))
    const busy = await post(handler, INFER, '{}')
    expect([...seen(busy), header(busy, 'retry-after')]).toEqual([503, { error: 'busy' }, '1'])
    plane.answers.push(new Error('a defect'))
    await expect(post(handler, INFER, '{}')).rejects.toThrow('a defect')
  })

  it('gives nothing to clients that have left, and keeps what follows an answer', async () => {
    const plane = fakePlane()
    plane.answers.push(null)
    expect(await restHandler(plane).serve(requestOf('POST', INFER, { body: Buffer.from('{}') }))).toBeNull()
    const afterSent = (): void => undefined
    plane.answers.push({ ...inferAnswerOf('m', [1]), afterSent })
    expect((await post(restHandler(plane), INFER, '{}')).afterSent).toBe(afterSent)
  })

  it('limits a body as its model says, and as the process says where the model can not', () => {
    const plane = fakePlane([factsOf('m', { bodyLimitBytes: 77 })])
    const read = (path: string) => restHandler(plane).admit(requestOf('POST', path))
    expect(read(INFER)).toEqual({ kind: 'read', limitBytes: 77 })
    expect(read('/v1/models/m:predict')).toEqual({ kind: 'read', limitBytes: 77 })
    expect(read('/endpoints/m/invocations')).toEqual({ kind: 'read', limitBytes: 77 })
    expect(read('/invocations')).toEqual({ kind: 'read', limitBytes: 77 })
    const loading = fakePlane([factsOf('m')], {
      describe: () => {
        throw new ProtocolError(503, 'it is being loaded')
      },
    })
    const limits = { bodyLimitBytes: 99 }
    expect(restHandler(loading, { limits }).admit(requestOf('POST', INFER))).toEqual({ kind: 'read', limitBytes: 99 })
  })
})

describe('other protocols than v2', () => {
  const json = { 'content-type': 'application/json', accept: 'text/event-stream', traceparent: '00-1' }

  it('ask the data plane in the common form, and say nothing of a body that is no longer theirs', async () => {
    const plane = fakePlane()
    const handler = restHandler(plane)
    const v1 = await post(handler, '/v1/models/m:predict', '{"instances":[[1,2]]}', json)
    expect(seen(v1)).toEqual([200, { predictions: [3] }])
    const mlflow = await post(handler, '/invocations', '{"inputs":[[1,2]]}', json)
    expect(seen(mlflow)).toEqual([200, { predictions: [3] }])
    const inputs = [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 2] }]
    for (const { body, jsonBytes, version, headers } of plane.calls) {
      expect([JSON.parse(body.toString()), jsonBytes, version]).toEqual([{ inputs }, null, null])
      expect(headers).toMatchObject({ 'content-type': undefined, accept: undefined, traceparent: '00-1' })
    }
    expect(plane.calls).toHaveLength(2)
  })

  it('keep what the data plane says of its answer, errors in their own words', async () => {
    const plane = fakePlane()
    const handler = restHandler(plane)
    const said = ['millrace-prediction-id', 'p1']
    const answer = inferAnswerOf('m', [1])
    plane.answers.push({ ...answer, headers: [...answer.headers, ...said] })
    expect((await post(handler, '/v1/models/m:predict', '{"instances":[[1,2]]}')).headers).toEqual([
      'Content-Type',
      'application/json',
      ...said,
    ])
    for (const body of ['{"error":"lost"}', 'lost']) {
      plane.answers.push({ status: 502, headers: ['retry-after', '7'], body: Buffer.from(body), jsonBytes: null })
      const failed = await post(handler, '/endpoints/m/invocations', '{"inputs":[[1,2]]}', json)
      expect(seen(failed)).toEqual([502, { error_code: 'INTERNAL_ERROR', message: 'lost' }])
      expect(header(failed, 'retry-after')).toBe('7')
    }
    plane.answers.push({ ...errorAnswer(502, 'lost'), jsonBytes: null })
    const failed = await post(handler, '/v1/models/m:predict', '{"instances":[[1,2]]}')
    expect(seen(failed)).toEqual([502, { error: 'lost' }])
  })

  it('leave it to the data plane to refuse, and to count, what can not be served now', async () => {
    const plane = fakePlane([factsOf('m')], {
      describe: () => {
        throw new ProtocolError(503, 'nothing is deployed')
      },
    })
    const handler = restHandler(plane)
    plane.answers.push({ ...errorAnswer(503, 'no live version'), jsonBytes: null })
    const v1 = await post(handler, '/v1/models/m:predict', '{"instances":[[1,2]]}')
    expect(seen(v1)).toEqual([503, { error: 'no live version' }])
    plane.answers.push(new ProtocolError(503, 'it is being loaded'))
    const mlflow = await post(handler, '/invocations', '{"inputs":[[1,2]]}', json)
    expect(seen(mlflow)).toEqual([503, { error_code: 'TEMPORARILY_UNAVAILABLE', message: 'it is being loaded' }])
    expect(plane.calls).toHaveLength(2)
  })
})

describe('packed bodies', () => {
  const INFER = '/v2/models/m/infer'
  const long = Array.from({ length: 3_000 }, (_, row) => row)

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ] as const)(
    'in %s are unpacked before anybody sees them, and the length of the JSON is the unpacked one',
    async (coding, pack) => {
      const plane = fakePlane()
      const headers = { 'content-encoding': coding, 'inference-header-content-length': '2' }
      expect((await post(restHandler(plane), INFER, pack('{}binary'), headers)).status).toBe(200)
      expect(plane.calls).toMatchObject([{ body: Buffer.from('{}binary'), jsonBytes: 2 }])
    },
  )

  it('that grow past the limit are refused with 413, those that are nothing of the kind with 400', async () => {
    const plane = fakePlane()
    const handler = restHandler(plane)
    const bomb = gzipSync(Buffer.alloc(9_000_000))
    expect(seen(await post(handler, INFER, bomb, { 'content-encoding': 'gzip' }))).toEqual([
      413,
      { error: 'The request body is larger than the limit of 10000 bytes.' },
    ])
    expect((await post(handler, INFER, 'no gzip', { 'content-encoding': 'gzip' })).status).toBe(400)
    expect(plane.calls).toEqual([])
  })

  it('of a kind that nobody here unpacks are refused before they are read, with what would do', () => {
    const refused = restHandler(fakePlane()).admit(requestOf('POST', INFER, { headers: { 'content-encoding': 'br' } }))
    expect(refused).toMatchObject({ kind: 'answer', answer: { status: 415 } })
    expect(refused.kind === 'answer' && header(refused.answer, 'accept-encoding')).toBe('gzip, deflate')
  })

  it('are held within a limit of all together', async () => {
    const limits = { unpackedBytes: 10_000 }
    const plane = fakePlane()
    let finish: () => void = () => undefined
    const waiting = new Promise<void>((resolve) => (finish = resolve))
    const slow = { ...plane, infer: () => waiting.then(() => inferAnswerOf('m', [1])) }
    const handler = restHandler(slow, { limits })
    const packed = gzipSync(Buffer.alloc(9_000, 0x20))
    const first = post(handler, INFER, packed, { 'content-encoding': 'gzip' })
    const second = await post(handler, INFER, packed, { 'content-encoding': 'gzip' })
    expect([second.status, header(second, 'retry-after')]).toEqual([503, '1'])
    finish()
    expect((await first).status).toBe(200)
    expect((await post(handler, INFER, packed, { 'content-encoding': 'gzip' })).status).toBe(200)
  })

  it('go out to those that accept them, with the length of the JSON as it is unpacked', async () => {
    const plane = fakePlane()
    const handler = restHandler(plane)
    const body = Buffer.concat([Buffer.from('{}'), Buffer.alloc(20_000)])
    plane.answers.push({ status: 200, headers: [], body, jsonBytes: 2 })
    const answer = await post(handler, INFER, '{}', { 'accept-encoding': 'gzip' })
    expect(header(answer, 'content-encoding')).toBe('gzip')
    expect(header(answer, 'inference-header-content-length')).toBe('2')
    expect(gunzipSync(answer.body)).toEqual(body)
    plane.answers.push(inferAnswerOf('m', long))
    expect(header(await post(handler, INFER, '{}'), 'content-encoding')).toBeUndefined()
  })
})

describe('routes of a process of its own', () => {
  const route: ExtraRoute = {
    path: '/feedback',
    method: 'POST',
    bodyLimitBytes: 50,
    serve: (body) => jsonAnswer(202, { bytes: body.length }),
  }

  it('are answered beside the protocols, with their method, their limit and unpacked', async () => {
    const handler = restHandler(fakePlane(), { routes: [route] })
    expect(handler.admit(requestOf('POST', '/feedback?x'))).toEqual({ kind: 'read', limitBytes: 50 })
    expect(seen(await post(handler, '/feedback', 'abc'))).toEqual([202, { bytes: 3 }])
    expect(seen(await post(handler, '/feedback', gzipSync('abcd'), { 'content-encoding': 'gzip' }))).toEqual([
      202,
      { bytes: 4 },
    ])
    const bomb = gzipSync(Buffer.alloc(51))
    expect((await post(handler, '/feedback', bomb, { 'content-encoding': 'gzip' })).status).toBe(413)
    expect((await get(handler, '/feedback')).status).toBe(405)
    expect((await post(restHandler(fakePlane()), '/feedback', 'abc')).status).toBe(404)
  })

  it('do not exist for those that they are not for, and may refuse by the head', async () => {
    const identity: ExtraRoute = {
      path: '/identity',
      method: 'GET',
      bodyLimitBytes: 0,
      isFor: ({ isSocket }) => isSocket,
      refusal: ({ headers }) => (headers['x'] === 'y' ? errorAnswer(401, 'not you') : null),
      serve: () => jsonAnswer(200, { id: 'replica-1' }),
    }
    const handler = restHandler(fakePlane(), { routes: [identity] })
    const socket = { address: '', isLocal: true, isSocket: true, commonName: null }
    expect((await get(handler, '/identity')).status).toBe(404)
    expect(seen(await ask(handler, requestOf('GET', '/identity', { peer: socket })))).toEqual([
      200,
      { id: 'replica-1' },
    ])
    const headers = { x: 'y' }
    expect((await ask(handler, requestOf('GET', '/identity', { peer: socket, headers }))).status).toBe(401)
    expect((await get(handler, '/identity')).status).toBe(404)
  })
})

describe('callers', () => {
  const plane = fakePlane([factsOf('m'), factsOf('n')])
  const asked: (string | null)[] = []
  const handler = restHandler(plane, {
    callerOf: ({ headers }, name) => {
      asked.push(name)
      const { key } = headers
      return key === undefined
        ? { kind: 'answer', answer: errorAnswer(401, 'who are you?') }
        : { kind: 'caller', name: key }
    },
  })

  it('are known to the data plane by name, or refused before their body is read', async () => {
    await post(handler, '/v2/models/m/infer', '{}', { key: 'clinic' })
    expect(plane.calls.at(-1)).toMatchObject({ name: 'm', caller: 'clinic' })
    const refused = handler.admit(requestOf('POST', '/v2/models/m/infer'))
    expect(refused).toMatchObject({ kind: 'answer', answer: { status: 401 } })
  })

  it('are asked for the model that they want; whether the process is well is for anybody', async () => {
    asked.length = 0
    for (const path of ['/v2', '/v2/models/n', '/v2/models/stats', '/v2/models/m/stats', '/v1/models'])
      await get(handler, path)
    expect(asked).toEqual([null, 'n', null, 'm', null])
    for (const path of ['/v2/models/m/ready', '/v1/models/m', '/endpoints/m/ping'])
      expect((await get(handler, path)).status).toBe(401)
    expect(asked.slice(5)).toEqual(['m', 'm', 'm'])
    for (const path of ['/livez', '/readyz', '/v2/health/live', '/v2/health/ready', '/'])
      expect((await get(handler, path)).status).toBe(200)
    expect(asked).toHaveLength(8)
  })
})
