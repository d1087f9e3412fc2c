import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { credentials, loadPackageDefinition, Metadata, status } from '@grpc/grpc-js'
import type { ChannelCredentials, ChannelOptions, ClientDuplexStream, ServiceError } from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { certificateAuthority } from '../../../testing/certificates.ts'
import { factsOf, fakePlane, inferAnswerOf } from '../../../testing/fake-plane.ts'
import { hasCommand } from '../../../testing/has-command.ts'
import { protocolModels } from '../../../testing/protocol-models.ts'
import { openServingLab } from '../../../testing/serving-lab.ts'
import type { ServingLab } from '../../../testing/serving-lab.ts'
import { ownMsOf } from '../../../testing/stopwatch.ts'
import { openGrpcFront } from './grpc-front.ts'
import type { GrpcFront, GrpcFrontParts } from './grpc-front.ts'
import { protobufSchema } from './schema.ts'

/*
 * The inference protocol over gRPC as a client sees it: at a model server alone, and at a gateway in front of it.
 */

let lab: ServingLab
beforeAll(async () => {
  lab = await openServingLab(protocolModels())
})
afterAll(() => lab?.close())

type Client = Record<string, (...given: unknown[]) => unknown> & { close(): void }
const open: { close(): unknown }[] = []
afterEach(async () => {
  for (const one of open.splice(0)) await one.close()
})

const packages = loadPackageDefinition(fromJSON(protobufSchema, { keepCase: true, longs: String, defaults: true })) as {
  inference?: {
    GRPCInferenceService: new (address: string, how: ChannelCredentials, options?: ChannelOptions) => Client
  }
  grpc?: { health: { v1: { Health: new (address: string, how: ChannelCredentials) => Client } } }
}

function clientOf(port: number, how = credentials.createInsecure(), options: ChannelOptions = {}): Client {
  const client = new packages.inference!.GRPCInferenceService(`127.0.0.1:${port}`, how, options)
  open.push(client)
  return client
}

function healthOf(port: number): Client {
  const client = new packages.grpc!.health.v1.Health(`127.0.0.1:${port}`, credentials.createInsecure())
  open.push(client)
  return client
}

/** The server's own headers come as metadata with each response. */
interface Reply {
  message: Record<string, unknown>
  metadata: Metadata
}

function ask(
  client: Client,
  method: string,
  message: object,
  metadata = new Metadata(),
  deadline = 20_000,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let received = new Metadata()
    const done = (error: ServiceError | null, response: Record<string, unknown>): void =>
      error === null ? resolve({ message: response, metadata: received }) : reject(error)
    const call = client[method]!(message, metadata, { deadline: Date.now() + deadline }, done) as {
      on(event: 'metadata', listener: (metadata: Metadata) => void): void
    }
    call.on('metadata', (got) => (received = got))
  })
}

async function failureOf(answer: Promise<unknown>): Promise<ServiceError> {
  return answer.then(
    () => expect.fail('it was answered'),
    (error: ServiceError) => error,
  )
}

const float32 = (...values: number[]): Buffer => Buffer.from(new Float32Array(values).buffer)
const rawVector = (...values: number[]) => ({
  model_name: 'vector',
  inputs: [{ name: 'x', datatype: 'FP32', shape: [values.length] }],
  raw_input_contents: [float32(...values)],
})
const typed = (model_name: string, datatype: string, contents: object, size: number, name = 'x') => ({
  model_name,
  inputs: [{ name, datatype, shape: [size], contents }],
})

describe.each(['modelServer', 'gateway'] as const)('gRPC at the %s', (who) => {
  const client = () => clientOf(lab.grpc[who])
  const infer = (message: object, metadata?: Metadata) => ask(client(), 'ModelInfer', message, metadata)

  it('answers raw inputs with raw outputs, naming model, version and id', async () => {
    const { message } = await infer({ ...rawVector(1.5, -2), id: 'a1' })
    expect(message).toMatchObject({
      model_name: 'vector',
      model_version: '7',
      id: 'a1',
      outputs: [{ name: 'y', datatype: 'FP32', shape: ['2'] }],
      raw_output_contents: [float32(1.5, -2)],
    })
  })

  it.each([
    ['FP32', 'vector', { fp32_contents: [1.5, 2] }, float32(1.5, 2)],
    [
      'INT64',
      'long',
      { int64_contents: ['9007199254740993', '-1'] },
      Buffer.from(new BigInt64Array([9007199254740993n, -1n]).buffer),
    ],
    ['INT8', 'small', { int_contents: [-128, 127] }, Buffer.from([0x80, 0x7f])],
    ['BOOL', 'flag', { bool_contents: [true, false] }, Buffer.from([1, 0])],
    [
      'BYTES',
      'text',
      { bytes_contents: [Buffer.from('é'), Buffer.from('')] },
      Buffer.from([2, 0, 0, 0, 0xc3, 0xa9, 0, 0, 0, 0]),
    ],
  ])(
    'takes typed contents of %s and answers with raw ones, which are all that clients read',
    async (datatype, model, contents, raw) => {
      const { message } = await infer(typed(model, datatype, contents, 2))
      expect(message).toMatchObject({ raw_output_contents: [raw], outputs: [{ datatype }] })
    },
  )

  it('carries FP16 as raw bytes, and says that it can not be typed', async () => {
    const bits = Buffer.from(new Uint16Array([0x3c00, 0xc000]).buffer)
    const input = { name: 'x', datatype: 'FP16', shape: [2] }
    const { message } = await infer({ model_name: 'half', inputs: [input], raw_input_contents: [bits] })
    expect(message).toMatchObject({ raw_output_contents: [bits] })
    const refused = await failureOf(infer(typed('half', 'FP16', { fp32_contents: [1, 2] }, 2)))
    expect(refused).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: "Input 'x': FP16 can't be sent as typed contents",
    })
  })

  it('refuses raw and typed inputs in one request in the words that clients know', async () => {
    const mixed = { ...typed('vector', 'FP32', { fp32_contents: [1] }, 1), raw_input_contents: [float32(1)] }
    expect(await failureOf(infer(mixed))).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: "contents field must not be specified when using raw_input_contents for 'x' for model 'vector'",
    })
  })

  it.each([
    ['too few bytes', { ...rawVector(1), inputs: [{ name: 'x', datatype: 'FP32', shape: [2] }] }],
    ['bytes for no input', { ...rawVector(1), raw_input_contents: [float32(1), float32(2)] }],
    ['values in the list of another type', typed('vector', 'FP32', { int_contents: [1] }, 1)],
    ['a value beyond its type', typed('small', 'INT8', { int_contents: [128] }, 1)],
    ['a negative dimension', { ...rawVector(1), inputs: [{ name: 'x', datatype: 'FP32', shape: [-1] }] }],
    ['an unknown input', { ...rawVector(1), inputs: [{ name: 'z', datatype: 'FP32', shape: [1] }] }],
    ['a sequence', { ...rawVector(1), parameters: { sequence_id: { int64_param: 5 } } }],
    [
      'a parameter beyond what is exact',
      { ...rawVector(1), parameters: { k: { uint64_param: '18446744073709551615' } } },
    ],
  ])('refuses %s as INVALID_ARGUMENT', async (_what, message) => {
    expect((await failureOf(infer(message))).code).toBe(status.INVALID_ARGUMENT)
  })

  it('says NOT_FOUND for a model and a version that it does not know', async () => {
    const unknown = await failureOf(infer({ ...rawVector(1), model_name: 'nobody' }))
    expect(unknown).toMatchObject({ code: status.NOT_FOUND })
    expect(unknown.details).toMatch(/^Request for unknown model: 'nobody' is not found/)
    expect((await failureOf(infer({ ...rawVector(1), model_version: '99' }))).code).toBe(status.NOT_FOUND)
  })

  it('computes the outputs that are named, in that order', async () => {
    const message = {
      model_name: 'pair',
      inputs: [
        { name: 'a', datatype: 'FP32', shape: [1] },
        { name: 'b', datatype: 'INT64', shape: [1] },
      ],
      raw_input_contents: [float32(4), Buffer.from(new BigInt64Array([5n]).buffer)],
    }
    expect((await infer({ ...message, outputs: [{ name: 'd' }] })).message).toMatchObject({ outputs: [{ name: 'd' }] })
    const both = await infer({ ...message, outputs: [{ name: 'd' }, { name: 'c' }] })
    expect(both.message.raw_output_contents).toEqual([Buffer.from(new BigInt64Array([5n]).buffer), float32(4)])
  })

  it('takes timeout and priority as the client types them', async () => {
    const parameters = { timeout: { int64_param: '2000000' }, priority: { uint64_param: '1' } }
    expect((await infer({ ...rawVector(1), parameters })).message.model_name).toBe('vector')
  })

  it('takes compressed requests', async () => {
    const values = Array.from({ length: 50_000 }, () => 0.5)
    const how = credentials.createInsecure()
    const Service = packages.inference!.GRPCInferenceService as unknown as new (...given: unknown[]) => Client
    for (const algorithm of [1, 2]) {
      const client = new Service(`127.0.0.1:${lab.grpc[who]}`, how, { 'grpc.default_compression_algorithm': algorithm })
      open.push(client)
      const { message } = await ask(client, 'ModelInfer', rawVector(...values))
      expect(message.raw_output_contents).toEqual([float32(...values)])
    }
  })

  it('answers the metadata of server and model', async () => {
    const server = await ask(client(), 'ServerMetadata', {})
    expect(server.message).toMatchObject({
      name: 'millrace',
      extensions: expect.arrayContaining(['statistics']) as unknown,
    })
    const model = await ask(client(), 'ModelMetadata', { name: 'linear' })
    expect(model.message).toMatchObject({
      name: 'linear',
      versions: ['7'],
      platform: 'onnxruntime_onnx',
      inputs: [{ datatype: 'FP32', shape: ['-1', '2'] }],
    })
    const config = await ask(client(), 'ModelConfig', { name: 'linear' })
    expect(config.message).toMatchObject({ config: { name: 'linear', backend: 'onnxruntime' } })
  })

  it('counts what it has served', async () => {
    await infer(rawVector(1))
    const { message } = await ask(client(), 'ModelStatistics', { name: 'vector' })
    const [stats] = message.model_stats as { inference_stats: { success: { count: string } }; version: string }[]
    expect(stats).toMatchObject({ version: '7', inference_stats: { cache_hit: { count: '0' } } })
    expect(Number(stats!.inference_stats.success.count)).toBeGreaterThan(0)
  })

  it('lists its models, and is live and ready', async () => {
    const { message } = await ask(client(), 'RepositoryIndex', { ready: true })
    expect(message.models).toContainEqual({ name: 'vector', version: '7', state: 'READY', reason: '' })
    expect((await ask(client(), 'ServerLive', {})).message).toEqual({ live: true })
    expect((await ask(client(), 'ServerReady', {})).message).toEqual({ ready: true })
    expect((await ask(client(), 'ModelReady', { name: 'vector' })).message).toEqual({ ready: true })
    expect((await failureOf(ask(client(), 'ModelReady', { name: 'nobody' }))).code).toBe(status.NOT_FOUND)
  })

  it('speaks the health protocol, for the server and for each model', async () => {
    const health = healthOf(lab.grpc[who])
    const check = (service: string) => ask(health, 'Check', { service })
    expect((await check('')).message).toEqual({ status: 1 })
    expect((await check('vector')).message).toEqual({ status: 1 })
    expect((await failureOf(check('nobody'))).code).toBe(status.NOT_FOUND)
  })

  it('answers a stream in the order of its requests, going on after one that fails', async () => {
    const stream = client().ModelStreamInfer!() as ClientDuplexStream<object, StreamReply>
    const replies: StreamReply[] = []
    stream.on('data', (reply: StreamReply) => replies.push(reply))
    const ended = new Promise((resolve) => stream.on('end', resolve))
    for (let i = 0; i < 100; i += 1)
      stream.write({ ...rawVector(i), id: String(i), ...(i === 50 ? { model_name: 'nobody' } : {}) })
    stream.end()
    await ended
    expect(replies.map((reply) => reply.infer_response.id)).toEqual(Array.from({ length: 100 }, (_, i) => String(i)))
    expect(replies[50]?.error_message).toMatch(/^Request for unknown model: 'nobody'/)
    const others = replies.filter((_, i) => i !== 50)
    expect(others.map((reply) => reply.infer_response.raw_output_contents[0])).toEqual(
      Array.from({ length: 100 }, (_, i) => float32(i)).filter((_, i) => i !== 50),
    )
  })
})

interface StreamReply {
  error_message: string
  infer_response: { id: string; raw_output_contents: Buffer[] }
}

describe('gRPC at the gateway', () => {
  it('gives each answer the id under which it is logged, with its bytes', async () => {
    const { metadata } = await ask(clientOf(lab.grpc.gateway), 'ModelInfer', rawVector(7))
    const [id] = metadata.get('millrace-prediction-id')
    expect(metadata.get('millrace-model-version')).toEqual(['7'])
    const logged = lab.log.records.find(({ record }) => record.kind === 'prediction' && record.predictionId === id)
    expect(logged?.record).toMatchObject({
      model: 'vector',
      status: 200,
      requestJsonBytes: expect.any(Number) as number,
    })
  })

  it('does not let clients load or unload what is released', async () => {
    const refused = await failureOf(ask(clientOf(lab.grpc.gateway), 'RepositoryModelUnload', { model_name: 'vector' }))
    expect(refused.code).toBe(status.INVALID_ARGUMENT)
  })
})

describe('a gRPC front', () => {
  async function front(parts: Partial<GrpcFrontParts> = {}): Promise<{ port: number; front: GrpcFront }> {
    const opened = openGrpcFront({ plane: fakePlane([factsOf('vector')]), tell: () => undefined, ...parts })
    open.push(opened)
    return { port: await opened.listen({ host: '127.0.0.1', port: 0 }), front: opened }
  }

  it('refuses a message beyond its limit, and goes on', async () => {
    const { port } = await front({ limits: { receiveBytes: 1_000 } })
    const client = clientOf(port)
    const large = { model_name: 'm', raw_input_contents: [Buffer.alloc(2_000)] }
    expect((await failureOf(ask(client, 'ModelInfer', large))).code).toBe(status.RESOURCE_EXHAUSTED)
    expect((await ask(client, 'ServerLive', {})).message).toEqual({ live: true })
  })

  it('holds no more of all messages at once than it may, packed ones least of all', async () => {
    const waiting: (() => void)[] = []
    const plane = fakePlane([factsOf('vector', { bodyLimitBytes: 10_000_000 })], {
      infer: () => new Promise((resolve) => waiting.push(() => resolve(inferAnswerOf('vector', [1])))),
    })
    const { port } = await front({ plane, limits: { receiveBytes: 1_000_000, heldBytes: 2_000_000 } })
    const large = { ...rawVector(1), raw_input_contents: [Buffer.alloc(900_000)] }
    const packing = { 'grpc.default_compression_algorithm': 2 }
    for (const [client, fit] of [
      [clientOf(port), 2],
      [clientOf(port, credentials.createInsecure(), packing), 2],
    ] as const) {
      let refused = 0
      const answers = Array.from({ length: 6 }, () => ask(client, 'ModelInfer', large))
      const codes = Promise.all(
        answers.map((answer) =>
          answer
            .then(() => 0)
            .catch(({ code }: ServiceError) => {
              refused += 1
              return code
            }),
        ),
      )
      await expect.poll(() => waiting.length + refused, { timeout: 15_000 }).toBe(6)
      const taken = waiting.length
      for (const answer of waiting.splice(0)) answer()
      const got = await codes
      expect(got.filter((code) => code === 0)).toHaveLength(taken)
      expect(taken).toBeGreaterThanOrEqual(fit)
      expect(taken).toBeLessThanOrEqual(fit + 2)
      expect(got.filter((code) => code === status.UNAVAILABLE)).toHaveLength(6 - taken)
    }
    const again = ask(clientOf(port), 'ModelInfer', large)
    await expect.poll(() => waiting.length, { timeout: 15_000 }).toBe(1)
    waiting[0]!()
    expect((await again).message).toMatchObject({ model_name: 'vector' })
  })

  it('gives up a message that does not end, and what it held', async () => {
    const large = { ...rawVector(1), raw_input_contents: [Buffer.alloc(4_000)] }
    let receiveMs = 100
    let port: number
    let answer: Promise<Record<string, unknown>>
    let refusal: number | null
    // The other one is to come before the first is given up: where the process was kept from running, that one gets more.
    do {
      receiveMs *= 2
      refusal = null
      const opened = await front({ limits: { heldBytes: 10_000, receiveMs } })
      port = opened.port
      const other = clientOf(port)
      await ask(other, 'ServerLive', {}) // connected
      const session = connect(`http://127.0.0.1:${port}`)
      open.push({ close: () => session.destroy() })
      const stream = session.request({
        ':method': 'POST',
        ':path': '/inference.GRPCInferenceService/ModelInfer',
        'content-type': 'application/grpc',
        te: 'trailers',
      })
      let isGivenUp = false
      answer = once(stream, 'response').then(([headers]) => {
        isGivenUp = true
        return headers as Record<string, unknown>
      })
      stream.write(Buffer.concat([Buffer.from([0, 0, 0, 0x26, 0]), Buffer.alloc(9_000)]))
      while (!isGivenUp && refusal === null)
        refusal = await ask(other, 'ModelInfer', large).then(
          () => null,
          ({ code }: ServiceError) => code,
        )
      await answer
    } while (refusal === null && receiveMs < 10_000)
    expect(refusal).toBe(status.UNAVAILABLE)
    expect(await answer).toMatchObject({
      'grpc-status': String(status.DEADLINE_EXCEEDED),
      'grpc-message': 'The%20request%20was%20not%20complete%20in%20time.',
    })
    expect((await ask(clientOf(port), 'ModelInfer', large)).message).toMatchObject({ model_name: 'vector' })
  })

  it('lets no message grow beyond what its models take, packed or not', async () => {
    const plane = fakePlane([factsOf('vector', { bodyLimitBytes: 2_000_000 })])
    const { port } = await front({ plane })
    const zeros = (bytes: number) => ({ ...rawVector(1), raw_input_contents: [Buffer.alloc(bytes)] })
    const packing = { 'grpc.default_compression_algorithm': 2 }
    for (const client of [clientOf(port), clientOf(port, credentials.createInsecure(), packing)]) {
      const refused = await failureOf(ask(client, 'ModelInfer', zeros(100_000_000)))
      expect(refused.code).toBe(status.RESOURCE_EXHAUSTED)
      expect(refused.details).toMatch(/more than the limit of|larger than the limit of/)
      expect((await failureOf(ask(client, 'ModelInfer', zeros(2_000_001)))).code).toBe(status.RESOURCE_EXHAUSTED)
      expect((await ask(client, 'ModelInfer', zeros(1_900_000))).message).toMatchObject({ model_name: 'vector' })
    }
  })

  it('reads no message that says too much beside its values', async () => {
    const { port } = await front({ plane: fakePlane([factsOf('vector', { bodyLimitBytes: 50_000_000 })]) })
    const inputs = Array.from({ length: 200_000 }, () => ({ name: 'x', datatype: 'FP32', shape: [1] }))
    const refused = await failureOf(ask(clientOf(port), 'ModelInfer', { ...rawVector(1), inputs }))
    expect(refused).toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    expect(refused.details).toContain('beside the values of its inputs')
  })

  it('holds as many connections as it may, and tells the others why not', async () => {
    const told: string[] = []
    const { port, front: opened } = await front({ limits: { connections: 2 }, tell: (_level, what) => told.push(what) })
    const alone = { 'grpc.use_local_subchannel_pool': 1 }
    const [first, second, third] = [1, 2, 3].map(() => clientOf(port, credentials.createInsecure(), alone))
    await ask(first!, 'ServerLive', {})
    await ask(second!, 'ServerLive', {})
    expect(opened.connections).toBe(2)
    const refused = await failureOf(ask(third!, 'ServerLive', {}))
    expect(refused.code).toBe(status.UNAVAILABLE)
    expect(told).toEqual(['gRPC connections are refused: as many as may be are open'])
    const socket = connectTcp(port, '127.0.0.1')
    open.push({ close: () => socket.destroy() })
    const words: Buffer[] = []
    for await (const part of socket) words.push(part as Buffer)
    expect(Buffer.concat(words).toString()).toMatch(/^HTTP\/1\.1 503 .*as many connections as it may/s)
    first!.close()
    while (opened.connections > 1) await sleep(10)
    expect((await ask(clientOf(port, undefined, alone), 'ServerLive', {})).message).toEqual({ live: true })
  })

  it('closes a connection on which nothing comes', async () => {
    const { port, front: opened } = await front({ limits: { silentMs: 100 } })
    const socket = connectTcp(port, '127.0.0.1')
    open.push({ close: () => socket.destroy() })
    await once(socket.resume(), 'close')
    await expect.poll(() => opened.connections).toBe(0)
  })

  it('says errors that no header can hold as they are', async () => {
    const plane = fakePlane([factsOf('vector')])
    const { port } = await front({ plane })
    plane.answers.push({
      status: 500,
      headers: [],
      body: Buffer.from('{"error":"half \\ud83d of it"}'),
      jsonBytes: null,
    })
    expect(await failureOf(ask(clientOf(port), 'ModelInfer', rawVector(1)))).toMatchObject({
      code: status.INTERNAL,
      details: 'half \ufffd of it',
    })
    const unknown = { ...rawVector(1), model_name: '😀'.repeat(50_000) }
    expect(await failureOf(ask(clientOf(port), 'ModelInfer', unknown))).toMatchObject({
      code: status.NOT_FOUND,
      details: expect.stringMatching(/^Request for unknown model: '(😀)+/u),
    })
  })

  it('asks who calls, and refuses as HTTP does', async () => {
    const seen: unknown[] = []
    const body = Buffer.from('{"error":"no key"}')
    const { port } = await front({
      callerOf: ({ headers, peer }, name) => {
        seen.push([headers.authorization, peer.isLocal, name])
        return { kind: 'answer', answer: { status: 401, headers: [], body } }
      },
    })
    const metadata = new Metadata()
    metadata.set('authorization', 'Bearer k')
    const refused = await failureOf(ask(clientOf(port), 'ModelInfer', rawVector(1), metadata))
    expect(refused).toMatchObject({ code: status.UNAUTHENTICATED, details: 'no key' })
    expect(seen).toEqual([['Bearer k', true, 'vector']])
  })

  it('says to anybody whether it lives, and nothing of models', async () => {
    const body = Buffer.from('{"error":"no key"}')
    const { port } = await front({ callerOf: () => ({ kind: 'answer', answer: { status: 401, headers: [], body } }) })
    const client = clientOf(port)
    const codeOf = async (method: string, message: object) => {
      const answer = ask(client, method, message).then(() => status.OK)
      return await answer.catch((error: ServiceError) => error.code)
    }
    expect([await codeOf('ServerLive', {}), await codeOf('ServerReady', {})]).toEqual([status.OK, status.OK])
    const name = 'vector'
    const others: [string, object][] = [
      ['ServerMetadata', {}],
      ['ModelReady', { name }],
      ['ModelMetadata', { name }],
      ['ModelConfig', { name }],
      ['ModelStatistics', { name }],
      ['RepositoryIndex', {}],
      ['RepositoryModelLoad', { model_name: name }],
      ['RepositoryModelUnload', { model_name: name }],
    ]
    for (const [method, message] of others) expect(await codeOf(method, message)).toBe(status.UNAUTHENTICATED)
  })

  it('tells the data plane how long the client waits, and when it has left', async () => {
    const calls: { timeoutMs?: number | null; atMs: number; left: Promise<string> }[] = []
    const plane = fakePlane([factsOf('vector')], {
      infer: ({ timeoutMs, cancellation }) =>
        new Promise((resolve) => {
          const left = new Promise<string>((say) => cancellation.onCancel(() => say(String(cancellation.reason))))
          calls.push({ timeoutMs, atMs: performance.now(), left })
          void left.then(() => resolve(null))
        }),
    })
    const { port, front: opened } = await front({ plane })
    const client = clientOf(port)
    await ask(client, 'ServerLive', {}) // connected: all the time that it gives is the call's
    let deadlineMs = 100
    let late: ServiceError
    let askedMs: number
    // A call that does not arrive within its deadline is never seen: then the process was kept from running, and gets more.
    do {
      deadlineMs *= 2
      askedMs = performance.now()
      late = await failureOf(ask(client, 'ModelInfer', rawVector(1), new Metadata(), deadlineMs))
      expect(late.code).toBe(status.DEADLINE_EXCEEDED)
    } while (calls.length === 0 && deadlineMs < 10_000)
    const { timeoutMs, atMs, left } = calls[0]!
    // It is told in whole milliseconds of what is left when the call goes out.
    expect(timeoutMs).toBeLessThanOrEqual(deadlineMs)
    expect(timeoutMs).toBeGreaterThanOrEqual(Math.max(0, deadlineMs - (atMs - askedMs) - 2))
    expect(await left).toBe('client-gone')
    await expect.poll(() => opened.underWay).toBe(0)
  })

  it('finishes what is under way when it drains, and is not ready meanwhile', async () => {
    let answer: () => void = () => undefined
    const waiting = new Promise<void>((resolve) => (answer = resolve))
    const plane = fakePlane([factsOf('vector')])
    const slow = { ...plane, infer: (call: Parameters<typeof plane.infer>[0]) => waiting.then(() => plane.infer(call)) }
    const { port, front: opened } = await front({ plane: slow })
    const client = clientOf(port)
    const asked = ask(client, 'ModelInfer', rawVector(1))
    await expect.poll(() => opened.underWay).toBe(1)
    const drained = opened.drain({ limitMs: 5_000 })
    setTimeout(answer, 100)
    expect((await asked).message).toMatchObject({ model_name: 'vector' })
    expect(await drained).toEqual({ abandoned: 0 })
  })

  it('is not kept from ending by streams on which nobody asks: they are ended', async () => {
    const { port, front: opened } = await front({ plane: fakePlane([factsOf('vector')]) })
    const stream = clientOf(port).ModelStreamInfer!() as ClientDuplexStream<object, object>
    const watch = healthOf(port).Watch!({ service: '' }) as ClientDuplexStream<object, object>
    const ends = [stream, watch].map((one) => new Promise<void>((end) => one.once('end', end)))
    const seen: object[] = []
    for (const one of [stream, watch])
      one.on('data', (message: object) => seen.push(message)).on('error', () => undefined)
    stream.write(rawVector(1))
    await expect.poll(() => seen.length).toBe(2)
    const tookMs = await ownMsOf(async () => {
      expect(await opened.drain({ limitMs: 60_000 })).toEqual({ abandoned: 0 })
    })
    expect(tookMs).toBeLessThan(1_000)
    await Promise.all(ends)
    expect(seen).toContainEqual({ status: 2 }) // NOT_SERVING
  })

  it('has one form of answers, whatever the metadata says it would accept', async () => {
    const seen: unknown[] = []
    const plane = fakePlane([factsOf('vector')])
    const infer: typeof plane.infer = (call) => {
      seen.push(call.headers['accept'], call.headers['x-user'])
      return plane.infer(call)
    }
    const { port } = await front({ plane: { ...plane, infer } })
    const metadata = new Metadata()
    metadata.set('accept', 'text/event-stream')
    metadata.set('x-user', 'u-1')
    await ask(clientOf(port), 'ModelInfer', rawVector(1), metadata)
    expect(seen).toEqual([undefined, 'u-1'])
  })

  it('says which address is taken', async () => {
    const { port } = await front()
    const second = openGrpcFront({ plane: fakePlane([factsOf('vector')]), tell: () => undefined })
    open.push(second)
    await expect(second.listen({ host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'MR_LISTEN',
      message: expect.stringMatching(`Cannot listen on 127.0.0.1:${port}`) as unknown,
    })
  })

  it.skipIf(!hasCommand('openssl'))('speaks TLS, and takes certificates of its own authorities only', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'millrace-grpc-tls-'))
    open.push({ close: () => rmSync(dir, { recursive: true }) })
    const path = (name: string): string => join(dir, name)
    const openssl = (...given: string[]): void => void execFileSync('openssl', given, { stdio: 'ignore' })
    for (const name of ['server', 'client', 'stranger']) {
      const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1']
      const files = ['-keyout', path(`${name}.key`), '-out', path(`${name}.crt`)]
      openssl(
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
        ...subject,
        ...files,
      )
    }
    const seen: (string | null)[] = []
    const secure = openGrpcFront({
      plane: fakePlane([factsOf('vector')]),
      tell: () => undefined,
      callerOf: ({ peer }) => {
        seen.push(peer.commonName)
        return { kind: 'caller', name: peer.commonName ?? 'anonymous' }
      },
    })
    open.push(secure)
    const tls = { certificate: path('server.crt'), key: path('server.key'), clientAuthorities: path('client.crt') }
    const port = await secure.listen({ host: '127.0.0.1', port: 0, tls })
    const as = (name: string): Client => {
      const file = (ending: string): Buffer => readFileSync(path(`${name}.${ending}`))
      return clientOf(port, credentials.createSsl(readFileSync(path('server.crt')), file('key'), file('crt')))
    }
    expect((await ask(as('client'), 'ModelInfer', rawVector(1))).message).toMatchObject({ model_name: 'vector' })
    expect(seen).toEqual(['client'])
    expect((await failureOf(ask(as('stranger'), 'ServerLive', {}))).code).toBe(status.UNAVAILABLE)
  })

  it('leaves clients that begin a handshake of TLS and do not end it', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'millrace-grpc-tls-'))
    open.push({ close: () => rmSync(dir, { recursive: true }) })
    const tls = { certificate: join(dir, 'server.pem'), key: join(dir, 'server.key') }
    const { certificate, key } = certificateAuthority('the test authority').issue({ commonName: 'localhost' })
    writeFileSync(tls.certificate, certificate)
    writeFileSync(tls.key, key)
    const secure = openGrpcFront({ plane: fakePlane([]), tell: () => undefined, limits: { silentMs: 500 } })
    open.push(secure)
    const port = await secure.listen({ host: '127.0.0.1', port: 0, tls })
    // What a client says first, whole and in part.
    const hello = await firstBytes()
    const closed = [hello, hello.subarray(0, 5), hello.subarray(0, hello.length - 1)].map((bytes) => {
      const socket = connectTcp(port, '127.0.0.1', () => socket.write(bytes))
      open.push({ close: () => socket.destroy() })
      socket.on('error', () => undefined) // one that is reset is left as well
      return new Promise((resolve) => socket.resume().once('close', resolve))
    })
    await Promise.all(closed)
    await expect.poll(() => secure.connections).toBe(0)
  })
})

/** The ClientHello of a client that gets no answer. */
function firstBytes(): Promise<Buffer> {
  return new Promise((resolve) => {
    const pipe = new Duplex({ read: () => undefined, write: (bytes: Buffer) => resolve(bytes) })
    const client = connectTls({ socket: pipe, servername: 'localhost', ALPNProtocols: ['h2'] })
    open.push({ close: () => client.destroy() })
  })
}
