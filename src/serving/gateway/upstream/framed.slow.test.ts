import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FRAME_KIND, PREFACE } from '../../../kernel/contract/frames.ts'
import { ownMsOf } from '../../../testing/stopwatch.ts'
import type { UpstreamError } from '../errors.ts'
import { FrameReader } from '../../frames/frame-reader.ts'
import { headersText, readRequest } from '../../frames/frames.ts'
import { Outbox } from '../../frames/outbox.ts'
import { framedUpstreamLimits, framedUpstreams } from './framed.ts'
import type { FramedUpstreamLimits } from './framed.ts'
import type { Upstream, UpstreamRequest } from './upstream.ts'

let folder = ''
let path = ''
let replica: ScriptedReplica | null = null
const upstreams: Upstream[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mr-frames-'))
  path = join(folder, 'r.frames')
})
afterEach(async () => {
  for (const upstream of upstreams.splice(0)) upstream.close()
  await replica?.close()
  replica = null
  rmSync(folder, { recursive: true })
})

/** One connection as the replica sees it. */
interface Seen {
  socket: Socket
  outbox: Outbox
  requests: { id: number; model: string; version: string; body: string; timeoutMs: number; jsonBytes: number | null }[]
  cancelled: number[]
  headers: string[]
}

/** A replica that follows a script: `onRequest` decides what comes of each request. */
class ScriptedReplica {
  readonly connections: Seen[] = []
  isReady = true
  readonly #server: Server

  constructor(onRequest: (seen: Seen, id: number, body: string) => void) {
    this.#server = createServer((socket) => {
      const seen: Seen = { socket, outbox: new Outbox(socket, 'now'), requests: [], cancelled: [], headers: [] }
      this.connections.push(seen)
      const reader = new FrameReader({
        accepts: () => true,
        frame: (id, kind, payload) => {
          if (kind === FRAME_KIND.cancel) seen.cancelled.push(id)
          if (kind === FRAME_KIND.probe) seen.outbox.probed(id, this.isReady)
          if (kind !== FRAME_KIND.request) return
          const { model, version, body, timeoutMs, jsonBytes, headers } = readRequest(payload)
          seen.headers.push(headers)
          seen.requests.push({ id, model, version, body: body.toString(), timeoutMs, jsonBytes })
          onRequest(seen, id, body.toString())
        },
      })
      let preface: Buffer = Buffer.alloc(0)
      socket.on('error', () => undefined)
      socket.on('data', (bytes: Buffer) => {
        const left = PREFACE.length - preface.length
        if (left > 0) {
          preface = Buffer.concat([preface, bytes.subarray(0, left)])
          if (!PREFACE.subarray(0, preface.length).equals(preface))
            throw new Error(`it began with ${preface.toString()}`)
        }
        if (bytes.length > left) reader.push(bytes.subarray(left))
      })
    })
  }

  listen(): Promise<this> {
    return new Promise((resolve) => this.#server.listen(path, () => resolve(this)))
  }

  close(): Promise<void> {
    for (const { socket } of this.connections) socket.destroy()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }

  get requests(): number {
    return this.connections.reduce((sum, { requests }) => sum + requests.length, 0)
  }
}

const headers = headersText(['content-type', 'application/json', 'millrace-model-version', '3'])
const echo = (seen: Seen, id: number, body: string): void =>
  seen.outbox.answer(id, 200, null, headers, Buffer.from(`echo ${body}`))

async function open(
  onRequest: (seen: Seen, id: number, body: string) => void,
  limits: Partial<FramedUpstreamLimits> = {},
): Promise<Upstream> {
  replica = await new ScriptedReplica(onRequest).listen()
  return openAt(path, limits)
}

function openAt(framesPath: string, limits: Partial<FramedUpstreamLimits> = {}): Upstream {
  const upstream = framedUpstreams({ ...framedUpstreamLimits, ...limits })({
    replicaId: 'r',
    socketPath: '/nowhere',
    framesPath,
  })
  upstreams.push(upstream)
  return upstream
}

const request = (body: string, change: Partial<UpstreamRequest> = {}): UpstreamRequest => ({
  model: 'm',
  version: '3',
  body: Buffer.from(body),
  jsonBytes: null,
  headers: ['content-type', 'application/json'],
  ...change,
})
const faultOf = (call: { answer: Promise<unknown> }): Promise<string> =>
  call.answer.then(
    () => 'answered',
    (error: UpstreamError) => error.fault,
  )
const until = async (holds: () => boolean): Promise<void> => {
  for (let waited = 0; !holds(); waited += 5) {
    if (waited > 5_000) throw new Error('waited 5 s in vain')
    await sleep(5)
  }
}

describe('exchanges over frames', () => {
  it('share one connection, and each gets its own answer, in whatever order they come', async () => {
    const held: [Seen, number, string][] = []
    const upstream = await open((...asked) => {
      held.push(asked)
      if (held.length < 100) return
      for (const [seen, id, body] of held.toSorted((a, b) => ((a[1] * 7) % 101) - ((b[1] * 7) % 101)))
        echo(seen, id, body)
    })
    const calls = Array.from({ length: 100 }, (_, i) => upstream.call(request(`${i}`)))
    const answers = await Promise.all(calls.map(({ answer }) => answer))
    expect(answers.map(({ body }) => body.toString())).toEqual(Array.from({ length: 100 }, (_, i) => `echo ${i}`))
    expect(answers[0]).toMatchObject({ status: 200, jsonBytes: null })
    expect(answers[0]!.headers.get('millrace-model-version')).toBe('3')
    expect(replica!.connections).toHaveLength(1)
  })

  it('carry names, the length of the JSON and the time that is left', async () => {
    const upstream = await open((seen, id, body) => seen.outbox.answer(id, 200, 4, headers, Buffer.from(body)))
    const body = '{"a"\0\0\0\0'
    const answer = await upstream.call(request(body, { model: 'mödel', jsonBytes: 4, timeoutMs: 250 })).answer
    expect(answer).toMatchObject({ jsonBytes: 4, body: Buffer.from(body) })
    expect(replica!.connections[0]!.requests).toEqual([
      { id: 1, model: 'mödel', version: '3', body, jsonBytes: 4, timeoutMs: 250 },
    ])
  })

  it('carry each the headers that are its own', async () => {
    const upstream = await open(echo)
    const all = [['a', '1'], ['a', '1'], ['a', '2'], [], ['b', '1', 'a', '2'], ['a', '1']]
    await Promise.all(all.map((pairs) => upstream.call(request('x', { headers: pairs })).answer))
    const [seen] = replica!.connections
    expect(seen!.headers).toEqual(['a\n1\n', 'a\n1\n', 'a\n2\n', '', 'b\n1\na\n2\n', 'a\n1\n'])
  })

  it('of many bytes do not keep small ones waiting: they have a connection of their own', async () => {
    const upstream = await open(echo, { bulkBytes: 1_000 })
    const big = 'x'.repeat(3_000_000)
    const calls = [upstream.call(request(big)), upstream.call(request('small')), upstream.call(request(big))]
    const answers = await Promise.all(calls.map(({ answer }) => answer))
    expect(answers.map(({ body }) => body.length)).toEqual([big.length + 5, 10, big.length + 5])
    expect(replica!.connections).toHaveLength(2)
  })

  it('that are given up are told to the replica; its late answer harms nobody', async () => {
    const held: (() => void)[] = []
    const upstream = await open((seen, id, body) =>
      body === 'slow' ? void held.push(() => echo(seen, id, body)) : echo(seen, id, body),
    )
    const slow = upstream.call(request('slow'))
    const fault = faultOf(slow)
    await until(() => held.length === 1)
    slow.abort()
    slow.abort()
    expect(await fault).toBe('aborted')
    await until(() => replica!.connections[0]!.cancelled.length === 1)
    expect(replica!.connections[0]!.cancelled).toEqual([1])
    held[0]!()
    expect((await upstream.call(request('next')).answer).body.toString()).toBe('echo next')
    expect(replica!.connections).toHaveLength(1)
  })

  it('with a larger answer than is bearable fail alone', async () => {
    const upstream = await open((seen, id, body) =>
      seen.outbox.answer(id, 200, null, headers, body === 'much' ? Buffer.alloc(500_000) : Buffer.from(body)),
    )
    const much = upstream.call(request('much', { answerLimitBytes: 1_000 }))
    const little = upstream.call(request('little'))
    expect(await faultOf(much)).toBe('garbled')
    expect((await little.answer).body.toString()).toBe('little')
  })
})

describe('a replica', () => {
  it('that is not there refuses', async () => {
    expect(await faultOf(openAt(join(folder, 'nobody')).call(request('x')))).toBe('refused')
  })

  it('that dies takes along what it had not answered, and the next one is asked over a new connection', async () => {
    const upstream = await open((seen, id, body) => {
      if (body === 'die') seen.socket.destroy()
      else if (body !== 'wait') echo(seen, id, body)
    })
    const waiting = upstream.call(request('wait'))
    expect(await faultOf(upstream.call(request('die')))).toBe('died')
    expect(await faultOf(waiting)).toBe('died')
    expect((await upstream.call(request('again')).answer).body.toString()).toBe('echo again')
    expect(replica!.connections).toHaveLength(2)
  })

  it('that dies in the middle of a frame gives no answer', async () => {
    const upstream = await open((seen) => {
      const whole = Buffer.alloc(60)
      whole.writeUInt32LE(56, 0)
      whole.writeUInt32LE(1, 4)
      whole.writeUInt8(FRAME_KIND.answer, 8)
      seen.socket.end(whole.subarray(0, 40))
    })
    expect(await faultOf(upstream.call(request('x')))).toBe('died')
  })

  it.each([
    ['noise', Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')],
    ['an answer that nobody asked for', answerFrame(77)],
    ['a kind that is not for it to send', bareFrame(1, FRAME_KIND.request)],
    ['a kind that there is not', bareFrame(1, 200)],
    ['the answer of a probe that nobody sent', bareFrame(1, FRAME_KIND.probed)],
    ['a length that can not be', Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 2])],
    ['an answer without an end to its headers', answerFrame(1, 'name-without-value')],
  ])('that sends %s is not believed any more', async (_name, bytes) => {
    const upstream = await open((seen, id, body) => {
      if (body === 'first') seen.socket.write(bytes)
      else if (body !== 'second') echo(seen, id, body)
    })
    const first = upstream.call(request('first'))
    const second = upstream.call(request('second'))
    expect(await Promise.all([faultOf(first), faultOf(second)])).toEqual(['garbled', 'garbled'])
    expect((await upstream.call(request('third')).answer).body.toString()).toBe('echo third')
  })

  it('that hangs is asked no more once too much was left unanswered', async () => {
    const upstream = await open(() => undefined, { abandoned: 3 })
    for (let i = 0; i < 5; i += 1) {
      const call = upstream.call(request(`${i}`))
      const fault = faultOf(call)
      await until(() => replica!.requests === i + 1)
      call.abort()
      expect(await fault).toBe('aborted')
    }
    await until(() => replica!.connections.length === 2)
    expect(replica!.connections[0]!.requests).toHaveLength(4)
  })

  it('that takes nothing is not written to without end', async () => {
    const upstream = await open(() => undefined, { backlogBytes: 100_000, stuckMs: 500, bulkBytes: 10_000_000 })
    const first = faultOf(upstream.call(request('x')))
    await until(() => replica!.requests === 1)
    replica!.connections[0]!.socket.pause()
    const faults = Array.from({ length: 20 }, () => faultOf(upstream.call(request('y'.repeat(200_000)))))
    await sleep(20)
    expect(await faultOf(upstream.call(request('z')))).toBe('busy')
    await sleep(600)
    const late = upstream.call(request('z'))
    const lateFault = faultOf(late)
    expect(await first).toBe('died')
    expect(new Set(await Promise.all(faults))).toEqual(new Set(['died', 'busy']))
    await until(() => replica!.connections.length === 2)
    late.abort()
    expect(await lateFault).toBe('aborted')
  })

  it('that says goodbye answers what it has, and is called over another connection', async () => {
    const held: (() => void)[] = []
    const upstream = await open((seen, id, body) =>
      body === 'slow' ? void held.push(() => echo(seen, id, body)) : echo(seen, id, body),
    )
    const slow = upstream.call(request('slow'))
    await until(() => held.length === 1)
    replica!.connections[0]!.outbox.bare(0, FRAME_KIND.goodbye)
    await sleep(20)
    expect((await upstream.call(request('next')).answer).body.toString()).toBe('echo next')
    expect(replica!.connections).toHaveLength(2)
    const closed = new Promise((resolve) => replica!.connections[0]!.socket.once('close', resolve))
    held[0]!()
    expect((await slow.answer).body.toString()).toBe('echo slow')
    await closed
  })

  it('says by itself whether it is ready, over a connection of its own', async () => {
    const upstream = await open(echo)
    expect(await upstream.probe(1_000)).toBe(true)
    replica!.isReady = false
    expect(await upstream.probe(1_000)).toBe(false)
    expect(await openAt(join(folder, 'nobody')).probe(1_000)).toBe(false)
    expect(replica!.connections).toHaveLength(2)
  })

  it('that does not answer a probe in time is not ready', async () => {
    const silent = createServer(() => undefined)
    await new Promise<void>((resolve) => silent.listen(join(folder, 'silent'), resolve))
    const tookMs = await ownMsOf(async () => {
      expect(await openAt(join(folder, 'silent')).probe(50)).toBe(false)
    })
    expect(tookMs).toBeLessThan(500)
    silent.close()
  })
})

describe('an upstream', () => {
  it('that is closed fails what is under way as aborted', async () => {
    const upstream = await open(() => undefined)
    const call = upstream.call(request('x'))
    await until(() => replica!.requests === 1)
    upstream.close()
    expect(await faultOf(call)).toBe('aborted')
  })

  it('that is retired closes after its last answer', async () => {
    const held: (() => void)[] = []
    const upstream = await open((seen, id, body) => void held.push(() => echo(seen, id, body)))
    const call = upstream.call(request('x'))
    await until(() => held.length === 1)
    upstream.retire()
    const closed = new Promise((resolve) => replica!.connections[0]!.socket.once('close', resolve))
    held[0]!()
    expect((await call.answer).body.toString()).toBe('echo x')
    await closed
  })
})

function bareFrame(id: number, kind: number): Buffer {
  const bytes = Buffer.alloc(9)
  bytes.writeUInt32LE(5, 0)
  bytes.writeUInt32LE(id, 4)
  bytes.writeUInt8(kind, 8)
  return bytes
}

function answerFrame(id: number, headerText = ''): Buffer {
  const text = Buffer.from(headerText)
  const bytes = Buffer.alloc(17 + text.length)
  bytes.writeUInt32LE(bytes.length - 4, 0)
  bytes.writeUInt32LE(id, 4)
  bytes.writeUInt8(FRAME_KIND.answer, 8)
  bytes.writeInt32LE(-1, 9)
  bytes.writeUInt16LE(200, 13)
  bytes.writeUInt16LE(text.length, 15)
  text.copy(bytes, 17)
  return bytes
}
