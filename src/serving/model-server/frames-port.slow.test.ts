import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { FRAME_KIND, PREFACE } from '../../kernel/contract/frames.ts'
import { FrameReader } from '../frames/frame-reader.ts'
import { readAnswer } from '../frames/frames.ts'
import type { AnswerFrame } from '../frames/frames.ts'
import { Outbox } from '../frames/outbox.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'
import type { DataPlane, InferAnswer, InferCall } from '../front/data-plane.ts'
import { createFramesPort } from './frames-port.ts'
import type { FramesPort, FramesPortLimits } from './frames-port.ts'

const folder = mkdtempSync(join(tmpdir(), 'mr-fp-'))
const path = join(folder, 'r.frames')
let port: FramesPort | null = null
const clients: Client[] = []
afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy()
  await port?.close()
})
afterAll(() => rmSync(folder, { recursive: true }))

type Infer = (call: InferCall) => Promise<InferAnswer | null>
const HEADERS = ['Content-Type', 'application/json', 'millrace-model-version', '3']
const answer = (text: string): InferAnswer => ({
  status: 200,
  headers: HEADERS,
  body: Buffer.from(text),
  jsonBytes: null,
})
const echo: Infer = async ({ name, version, body }) => answer(`${name}@${version} ${body.toString()}`)
let isReady = true

async function open(infer: Infer, limits: Partial<FramesPortLimits> = {}): Promise<string[]> {
  const told: string[] = []
  isReady = true
  const plane = {
    infer,
    readiness: () => (isReady ? { ready: true } : { ready: false, why: 'no' }),
  } as Partial<DataPlane> as DataPlane
  port = createFramesPort({
    plane,
    limits,
    tell: (_level, what, facts) => told.push(`${what}: ${JSON.stringify(facts)}`),
  })
  await port.listen(path)
  return told
}

/** A gateway's end, as bare as it gets. */
class Client {
  readonly socket = connect(path)
  readonly outbox = new Outbox(this.socket, 'now')
  readonly answers = new Map<number, AnswerFrame>()
  readonly others: { kind: number; first: number | undefined }[] = []
  isClosed = false

  constructor(preface: Buffer = PREFACE) {
    clients.push(this)
    const reader = new FrameReader({
      accepts: () => true,
      frame: (id, kind, payload) => {
        if (kind === FRAME_KIND.answer) this.answers.set(id, readAnswer(Buffer.from(payload)))
        else this.others.push({ kind, first: payload[0] })
      },
    })
    this.socket.on('data', (bytes: Buffer) => reader.push(bytes))
    this.socket.on('error', () => undefined)
    this.socket.on('close', () => (this.isClosed = true))
    this.outbox.raw(preface)
  }

  ask(id: number, body: string | Buffer, timeoutMs = 0): void {
    const bytes = Buffer.from(body)
    this.outbox.request(
      {
        id,
        jsonBytes: null,
        timeoutMs,
        model: Buffer.from('m'),
        version: Buffer.from('3'),
        headers: Buffer.from('traceparent\nx\n'),
        bodyBytes: bytes.length,
      },
      bytes,
    )
  }

  async answered(id: number): Promise<{ status: number; text: string; headers: string }> {
    await until(() => this.answers.has(id))
    const { status, body, headers } = this.answers.get(id)!
    return { status, text: body.toString(), headers }
  }
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 5) {
    if (waited > 5_000) throw new Error('waited 5 s in vain')
    await sleep(5)
  }
}

describe('the frames port', () => {
  it('answers many requests of one connection, with everything that they said', async () => {
    const seen: InferCall[] = []
    await open((call) => {
      seen.push(call)
      return echo(call)
    })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const client = new Client()
    for (let id = 1; id <= 50; id += 1) client.ask(id, `body ${id}`, id === 7 ? 250 : 0)
    for (let id = 1; id <= 50; id += 1)
      expect(await client.answered(id)).toEqual({
        status: 200,
        text: `m@3 body ${id}`,
        headers: 'content-type\napplication/json\nmillrace-model-version\n3\n',
      })
    expect(seen[6]).toMatchObject({ name: 'm', version: '3', timeoutMs: 250, headers: { traceparent: 'x' } })
    expect(seen[7]!.timeoutMs).toBeNull()
    expect(port!.underWay).toBe(0)
  })

  it('says what went wrong in the form of the protocol', async () => {
    const told = await open(async ({ body }) => {
      if (body.toString() === 'known') throw new ProtocolError(400, 'no such column')
      throw new TypeError('a defect')
    })
    const client = new Client()
    client.ask(1, 'known')
    client.ask(2, 'unknown')
    expect(await client.answered(1)).toMatchObject({ status: 400, text: '{"error":"no such column"}' })
    const text = '{"error":"The model server failed; its log says why."}'
    expect(await client.answered(2)).toMatchObject({ status: 500, text })
    expect(told).toEqual(['a request failed inside the server: {"error":"a defect"}'])
  })

  it('takes a request back, and still answers it once, so that its id is free', async () => {
    const calls: InferCall[] = []
    let finish: () => void = () => undefined
    await open(async (call) => {
      calls.push(call)
      await new Promise<void>((resolve) => (finish = resolve))
      return echo(call)
    })
    const client = new Client()
    client.ask(1, 'x')
    await until(() => calls.length === 1)
    client.outbox.bare(1, FRAME_KIND.cancel)
    await until(() => calls[0]!.cancellation.reason === 'client-gone')
    finish()
    expect(await client.answered(1)).toMatchObject({ status: 503, text: '' })
  })

  it('cancels what a gateway that is gone had asked', async () => {
    const calls: InferCall[] = []
    await open((call) => {
      calls.push(call)
      return new Promise(() => undefined)
    })
    const client = new Client()
    client.ask(1, 'x')
    await until(() => calls.length === 1)
    expect(port!.underWay).toBe(1)
    client.socket.destroy()
    await until(() => calls[0]!.cancellation.reason === 'client-gone')
    expect(port!.underWay).toBe(0)
  })

  it('says whether it is ready', async () => {
    await open(echo)
    const client = new Client()
    client.outbox.bare(5, FRAME_KIND.probe)
    await until(() => client.others.length === 1)
    isReady = false
    client.outbox.bare(6, FRAME_KIND.probe)
    await until(() => client.others.length === 2)
    expect(client.others).toEqual([
      { kind: FRAME_KIND.probed, first: 1 },
      { kind: FRAME_KIND.probed, first: 0 },
    ])
  })

  it('refuses what is too large, too much at once or too many, and reads on behind it', async () => {
    const held: (() => void)[] = []
    await open(
      async (call) => {
        if (call.body.toString() === 'hold') await new Promise<void>((resolve) => held.push(resolve))
        return echo(call)
      },
      { bodyBytes: 100_000, bodiesBytes: 150_000, requests: 3 },
    )
    const client = new Client()
    client.ask(1, Buffer.alloc(200_000))
    client.ask(2, 'hold')
    client.ask(3, 'hold')
    client.ask(4, 'hold')
    client.ask(5, 'one too many')
    expect(await client.answered(1)).toMatchObject({ status: 413 })
    expect(await client.answered(5)).toMatchObject({ status: 503, text: expect.stringContaining('3 requests') })
    await until(() => held.length === 3)
    for (const finish of held) finish()
    expect(await client.answered(4)).toMatchObject({ status: 200 })
    client.ask(6, Buffer.alloc(90_000))
    client.ask(7, Buffer.alloc(90_000))
    expect(await client.answered(7)).toMatchObject({ status: 503, text: expect.stringContaining('150000 bytes') })
    expect(await client.answered(6)).toMatchObject({ status: 200 })
    client.ask(8, 'after it all')
    expect(await client.answered(8)).toMatchObject({ status: 200, text: 'm@3 after it all' })
  })

  it.each([
    ['another preface', Buffer.from('GET / HTTP/1.1\r\n'), /begins otherwise/],
    ['a kind that there is not', framed(9), /kind 9/],
    ['an answer', framed(FRAME_KIND.answer), /kind 2/],
    ['a request that is cut off', framed(FRAME_KIND.request), /a text ends/],
  ])('closes a connection with %s, and says why', async (_name, bytes, why) => {
    const told = await open(echo)
    const client = new Client(bytes)
    await until(() => client.isClosed)
    expect(told).toEqual([expect.stringMatching(why)])
    expect(port!.underWay).toBe(0)
    const next = new Client()
    next.ask(1, 'x')
    expect(await next.answered(1)).toMatchObject({ status: 200 })
  })

  it('survives whatever comes, and owes nothing afterwards', async () => {
    const told = await open(echo)
    const good = Buffer.concat([framed(FRAME_KIND.cancel).subarray(0, PREFACE.length), probe(1), probe(2), probe(3)])
    const damages = fc.sample(
      fc.array(fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) }), { minLength: 1, maxLength: 6 }),
      { seed: 20_261_123, numRuns: 300 },
    )
    for (const damage of damages) {
      const bytes = Buffer.from(good)
      for (const { at, to } of damage) bytes[at % bytes.length] = to
      const client = new Client(bytes)
      client.ask(4, 'x')
      await until(() => client.socket.bytesWritten > bytes.length)
      client.socket.end()
      await until(() => client.isClosed)
    }
    expect(told.length).toBeGreaterThan(100)
    await until(() => port!.underWay === 0)
    const next = new Client()
    next.ask(1, 'x')
    expect(await next.answered(1)).toMatchObject({ status: 200 })
  })

  it('closes a connection that asks under an id that is under way', async () => {
    const told = await open(() => new Promise(() => undefined))
    const client = new Client()
    client.ask(1, 'x')
    client.ask(1, 'y')
    await until(() => client.isClosed)
    expect(told).toEqual([expect.stringContaining('request 1 is under way already')])
  })

  it('cuts off who says nothing, and who takes no answers', async () => {
    const told = await open(async () => answer('x'.repeat(400_000)), { stuckMs: 100, backlogBytes: 300_000 })
    const mute = new Client(Buffer.from('MRF'))
    await until(() => mute.isClosed)
    const deaf = new Client()
    await sleep(20)
    deaf.socket.pause()
    for (let id = 1; id <= 20; id += 1) deaf.ask(id, 'x')
    await until(() => told.length === 2)
    expect(told).toEqual([
      expect.stringContaining('it sent no preface in time'),
      expect.stringContaining('it takes no answers'),
    ])
  })

  it('drains: says goodbye, answers what it has, and is over when its gateways have left', async () => {
    const held: (() => void)[] = []
    await open(async (call) => {
      await new Promise<void>((resolve) => held.push(resolve))
      return echo(call)
    })
    const client = new Client()
    client.ask(1, 'x')
    await until(() => held.length === 1)
    const drained = port!.drain({ lingerMs: 20, limitMs: 5_000 })
    await until(() => client.others.length === 1)
    expect(client.others).toEqual([{ kind: FRAME_KIND.goodbye, first: undefined }])
    client.ask(2, 'just before it was heard')
    await until(() => held.length === 2)
    for (const finish of held) finish()
    expect(await client.answered(1)).toMatchObject({ status: 200 })
    expect(await client.answered(2)).toMatchObject({ status: 200 })
    client.socket.end()
    expect(await drained).toEqual({ abandoned: 0 })
  })

  it('drains no longer than it may', async () => {
    const calls: InferCall[] = []
    await open((call) => {
      calls.push(call)
      return new Promise(() => undefined)
    })
    const client = new Client()
    client.ask(1, 'x')
    await until(() => calls.length === 1)
    expect(await port!.drain({ lingerMs: 10, limitMs: 50 })).toEqual({ abandoned: 1 })
    expect(calls[0]!.cancellation.reason).toBe('shutdown')
  })
})

function probe(id: number): Buffer {
  const bytes = Buffer.alloc(9)
  bytes.writeUInt32LE(5, 0)
  bytes.writeUInt32LE(id, 4)
  bytes.writeUInt8(FRAME_KIND.probe, 8)
  return bytes
}

function framed(kind: number): Buffer {
  const bytes = Buffer.alloc(PREFACE.length + 9 + 20, 0xff)
  PREFACE.copy(bytes)
  bytes.writeUInt32LE(25, PREFACE.length)
  bytes.writeUInt32LE(1, PREFACE.length + 4)
  bytes.writeUInt8(kind, PREFACE.length + 8)
  return bytes
}
