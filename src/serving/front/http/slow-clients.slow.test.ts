import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import type { Answer } from '../answer.ts'
import type { FrontLab } from '../../../testing/front-lab.ts'
import { fronts, get, lateHandler, post, RawClient, text, until } from '../../../testing/front-lab.ts'
import { send } from '../../../testing/gateway-lab.ts'
import { EventQueue } from '../../gateway/gather/event-stream.ts'
import { ownMsOf } from '../../../testing/stopwatch.ts'

const { open, close } = fronts()
afterEach(close)

describe('clients that are slow', () => {
  const limits = { headMs: 200, requestMs: 400, idleMs: 300, unreadMs: 300 }

  it.each([
    ['whose head never ends', 'GET / HTTP/1.1\r\nHost: a\r\nX: '],
    ['whose body never ends', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx'],
    ['whose chunks never end', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n'],
    ['that say nothing', ''],
  ])('%s get 408', async (_which, bytes) => {
    const { port, front } = await open({}, limits)
    let heard = ''
    const tookMs = await ownMsOf(async () => (heard = await new RawClient(port).say(bytes).closed()))
    expect(heard).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/)
    expect(heard).toContain('{"error":"The request was not complete in time."}')
    expect(tookMs).toBeLessThan(limits.requestMs + 600)
    await until(() => front.connections === 0, 'the connection to be gone')
    expect(front.underWay).toBe(0)
  })

  it('and send a byte now and then get 408 all the same', async () => {
    const { port } = await open({}, limits)
    const client = new RawClient(port).say('GET / HTTP/1.1\r\nX: ')
    const dripping = setInterval(() => client.say('x'), 20)
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 408 /)
    clearInterval(dripping)
  })

  it('have the whole time again for each request', async () => {
    const { port } = await open({}, { ...limits, headMs: 1_000 })
    const client = new RawClient(port)
    for (let turn = 1; turn <= 4; turn += 1) {
      client.say('GET / HTTP/1.1\r\n')
      await sleep(300)
      client.say('Host: a\r\n\r\n')
      await client.answers(turn)
    }
    expect(client.statuses).toEqual([200, 200, 200, 200])
  })

  it('and idle are closed without a word', async () => {
    const { port } = await open({}, limits)
    const client = new RawClient(port).say(get('/'))
    await client.answers(1)
    const { heard } = client
    expect(await client.closed()).toBe(heard)
  })

  it('are not cut off while the handler takes its time', async () => {
    const { port } = await open({ serve: async () => (await sleep(1_000), text('late')) }, limits)
    expect((await send({ port, path: '/' })).text).toBe('late')
  })

  it('to read, but do read, get all of it; one that never reads is cut off', async () => {
    const body = Buffer.alloc(40_000_000, 'x')
    const { port, front } = await open({ serve: () => ({ ...text(''), body }) }, { ...limits, unreadMs: 2_000 })
    const slow = new RawClient(port).say(get('/', 'Connection: close'))
    for (let turn = 0; turn < 12; turn += 1) {
      slow.socket.pause()
      await sleep(200)
      slow.socket.resume()
      await sleep(50)
    }
    expect((await slow.closed()).length).toBeGreaterThan(body.length)
    const deaf = new RawClient(port)
    deaf.socket.pause()
    deaf.say(get('/').repeat(10)) // more than the system's own buffers take
    await until(() => front.connections === 1 && front.underWay > 0, 'the requests')
    await until(() => front.connections === 0, 'it to be cut off')
    expect(front.underWay).toBe(0)
    deaf.socket.destroy()
  })

  it('to read do not make the front answer ahead of them without end', async () => {
    let served = 0
    const body = Buffer.alloc(100_000, 'x')
    const { port } = await open(
      { serve: () => ((served += 1), { ...text(''), body }) },
      { pipelined: 8, unreadMs: 5_000 },
    )
    const deaf = new RawClient(port)
    deaf.socket.pause()
    deaf.say(get('/').repeat(1_000))
    await sleep(300)
    expect(served).toBeLessThan(200) // what the system's buffers take, and eight
    deaf.socket.destroy()
  })
})

describe('answers that nobody reads', () => {
  const body = Buffer.alloc(20_000_000, 'x')
  const serve = (): Answer => ({ ...text(''), body })
  const answersBytes = 30_000_000

  async function deafClient(lab: Pick<FrontLab, 'port' | 'front'>, request = get('/')): Promise<RawClient> {
    const deaf = new RawClient(lab.port)
    deaf.socket.pause()
    deaf.say(request)
    await until(() => lab.front.underWay === 1, 'its request')
    return deaf
  }

  it('make room for others: who reads slowest is cut off', async () => {
    const lab = await open({ serve }, { answersBytes, laggardMs: 200 })
    await deafClient(lab)
    await sleep(300)
    const { status, text: heard } = await send({ port: lab.port, path: '/' })
    expect([status, heard.length]).toEqual([200, body.length])
    await until(() => lab.front.connections === 0, 'the deaf one to be gone')
    expect(lab.front.underWay).toBe(0)
  })

  it('are not more than there is memory for: others get 503, until some have left', async () => {
    const lab = await open({ serve }, { answersBytes, laggardMs: 60_000 })
    const deaf = await deafClient(lab)
    const refused = await send({ port: lab.port, path: '/' })
    expect([refused.status, refused.text]).toEqual([
      503,
      '{"error":"The server holds as many answer bytes as it may."}',
    ])
    deaf.socket.destroy()
    await until(() => lab.front.underWay === 0, 'it to be gone')
    expect((await send({ port: lab.port, path: '/' })).status).toBe(200)
  })

  /** An answer in parts that a test adds to, as events of a gather come. */
  function partsOf() {
    const queue = new EventQueue(() => undefined)
    return { queue, serve: (): Answer => ({ ...text(''), stream: queue }) }
  }

  it('count as they come, where they come in parts: too many of them end their own, and give back what they held', async () => {
    const { queue, serve: stream } = partsOf()
    const answers = { '/parts': stream, '/': serve }
    const lab = await open(
      { serve: ({ target }) => answers[target as '/' | '/parts']() },
      { answersBytes, laggardMs: 60_000 },
    )
    const deaf = await deafClient(lab, get('/parts'))
    queue.push(body)
    expect((await send({ port: lab.port, path: '/' })).status).toBe(503)
    queue.push(body)
    await until(() => lab.front.connections === 0, 'it to be cut off')
    expect(lab.told).toEqual([expect.stringContaining('warn an answer broke off: there is no memory for more of it')])
    expect((await send({ port: lab.port, path: '/' })).status).toBe(200)
    deaf.socket.destroy()
  })

  it('make room for others, also where they come in parts: who reads slowest is cut off', async () => {
    const { queue, serve: stream } = partsOf()
    const answers = { '/parts': stream, '/': serve }
    const lab = await open(
      { serve: ({ target }) => answers[target as '/' | '/parts']() },
      { answersBytes, laggardMs: 200 },
    )
    const waiting = new RawClient(lab.port).say(get('/parts'))
    await until(() => lab.front.underWay === 1, 'its request')
    await sleep(300)
    const { status } = await send({ port: lab.port, path: '/' })
    expect([status, lab.front.underWay]).toEqual([200, 1]) // it waits for its parts, and reads them
    waiting.socket.pause()
    queue.push(body)
    await sleep(300)
    expect((await send({ port: lab.port, path: '/' })).status).toBe(200)
    await until(() => lab.front.underWay === 0, 'it to be gone')
    waiting.socket.destroy()
  })

  it('do not hold the bodies of their requests', async () => {
    const lab = await open({ serve }, { bodiesBytes: 1_000 })
    const deaf = await deafClient(lab, post('/', 'x'.repeat(900)))
    expect((await send({ port: lab.port, path: '/', method: 'POST' }, 'x'.repeat(900))).status).toBe(200)
    deaf.socket.destroy()
  })
})

describe('a client that leaves', () => {
  it.each([
    ['by closing its side', (client: RawClient) => client.socket.end()],
    ['by a reset', (client: RawClient) => client.socket.resetAndDestroy()],
  ])(
    '%s has its requests cancelled, and what they held is given back when the handler is done',
    async (_how, leave) => {
      const late = lateHandler()
      const { port, front } = await open(late)
      const client = new RawClient(port).say(post('/1', 'body') + get('/2'))
      await until(() => late.waiting.length === 2, 'two requests')
      leave(client)
      await until(() => late.waiting.every(({ cancellation }) => cancellation.reason === 'client-gone'), 'cancellation')
      await client.closed()
      await until(() => front.connections === 0, 'the connection to be gone')
      expect([client.heard, front.underWay]).toEqual(['', 2])
      late.answer('/1')
      late.answer('/2')
      await until(() => front.underWay === 0, 'the handler to be done')
    },
  )

  it('in the middle of a body is let go', async () => {
    const { port, front } = await open()
    await new RawClient(port).say('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{').answers(0)
    const client = new RawClient(port).say('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{')
    await until(() => front.underWay === 1 || front.underWay === 2, 'the head')
    client.socket.end()
    await client.closed()
    expect(client.heard).toBe('')
  })

  it('is let go by a handler that answers null', async () => {
    const { port, front } = await open({ serve: () => null })
    expect(await new RawClient(port).say(get('/')).closed()).toBe('')
    expect(front.underWay).toBe(0)
  })
})
