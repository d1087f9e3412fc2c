import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { echo, fronts, get, lateHandler, RawClient, text, until } from '../../../testing/front-lab.ts'
import { send } from '../../../testing/gateway-lab.ts'
import { ownMsOf } from '../../../testing/stopwatch.ts'
import { errorAnswer, jsonAnswer } from '../answer.ts'

const { open, close } = fronts()
afterEach(close)

describe('draining', () => {
  it('finishes what is under way, answers late requests on idle connections, and closes each with its answer', async () => {
    const late = lateHandler()
    const { port, front } = await open({
      serve: (request) => (request.target === '/late' ? late.serve(request) : echo(request)),
    })
    const [busy, idle, silent] = [new RawClient(port), new RawClient(port), new RawClient(port)]
    idle.say(get('/'))
    await idle.answers(1)
    busy.say(get('/late'))
    await until(() => late.waiting.length === 1, 'the late one')
    const drained = front.drain({ idleMs: 300, limitMs: 5_000 })
    expect(front.isDraining).toBe(true)
    await sleep(50)
    idle.say(get('/again'))
    expect(await idle.answers(2)).toEqual([200, 200])
    await idle.closed()
    expect(idle.heard.slice(idle.heard.lastIndexOf('HTTP/1.1'))).toContain('Connection: close')
    await expect(send({ port, path: '/' })).rejects.toThrow('ECONNREFUSED')
    await silent.closed()
    expect(silent.heard).toBe('')
    expect(late.waiting).toHaveLength(1)
    late.answer('/late')
    await busy.closed()
    expect(busy.statuses).toEqual([200])
    expect(await drained).toEqual({ abandoned: 0 })
  })

  it('answers what came while its process stood still', async () => {
    const { port, front } = await open()
    const [idle, fresh] = [new RawClient(port), new RawClient(port)]
    idle.say(get('/'))
    await idle.answers(1)
    await until(() => front.connections === 2, 'both connections')
    const drained = front.drain({ idleMs: 200, limitMs: 5_000 })
    await sleep(20)
    idle.say(get('/again'))
    fresh.say(get('/first'))
    const untilMs = performance.now() + 400
    while (performance.now() < untilMs) continue
    await Promise.all([idle.closed(), fresh.closed()])
    expect([idle.statuses, fresh.statuses]).toEqual([[200, 200], [200]])
    expect(await drained).toEqual({ abandoned: 0 })
  })

  it('answers all that a client has asked before it closes', async () => {
    const late = lateHandler()
    const { port, front } = await open(late)
    const client = new RawClient(port).say(get('/1') + get('/2') + get('/3').slice(0, -2))
    await until(() => late.waiting.length === 2, 'two requests')
    const drained = front.drain({ idleMs: 200, limitMs: 5_000 })
    late.answer('/1')
    late.answer('/2')
    await client.answers(2)
    client.say('\r\n')
    await until(() => late.waiting.length === 1, 'the third')
    late.answer('/3')
    await client.closed()
    expect(client.heard.match(/Connection: [a-z-]+/g)).toEqual([
      'Connection: keep-alive',
      'Connection: keep-alive',
      'Connection: close',
    ])
    expect(await drained).toEqual({ abandoned: 0 })
  })

  it('gives up at its limit, and tells who still works on it', async () => {
    const { port, front } = await open({
      serve: ({ cancellation }) =>
        new Promise((resolve) => cancellation.onCancel(() => resolve(errorAnswer(503, String(cancellation.reason))))),
    })
    const client = new RawClient(port).say(get('/'))
    const half = new RawClient(port).say('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n')
    await until(() => front.underWay === 2, 'both requests')
    const tookMs = await ownMsOf(async () => {
      expect(await front.drain({ idleMs: 50, limitMs: 200 })).toEqual({ abandoned: 2 })
    })
    expect(tookMs).toBeLessThan(700)
    expect(await client.closed()).toContain('{"error":"shutdown"}')
    expect(await half.closed()).toBe('')
    expect(front.connections).toBe(0)
  })

  it('takes new connections while it lingers, each for one answer', async () => {
    const { port, front } = await open()
    const drained = front.drain({ idleMs: 0, limitMs: 5_000, lingerMs: 1_500 })
    const response = await send({ port, path: '/' })
    expect([response.status, response.headers.connection]).toEqual([200, 'close'])
    await drained
    await expect(send({ port, path: '/' })).rejects.toThrow('ECONNREFUSED')
  })

  it('loses nothing under load', async () => {
    const { port, front } = await open({ serve: async (request) => (await sleep(5), echo(request)) })
    const failures: unknown[] = []
    let answered = 0
    let isOver = false
    const client = async (agent: Agent): Promise<void> => {
      while (!isOver) {
        try {
          const { status } = await send({ port, path: '/', method: 'POST', agent }, 'x')
          if (status === 200) answered += 1
          else failures.push(status)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return
          failures.push(error)
        }
      }
    }
    const agent = new Agent({ keepAlive: true, maxSockets: 16 })
    const clients = Array.from({ length: 16 }, () => client(agent))
    await sleep(300)
    await front.drain({ idleMs: 500, limitMs: 5_000 })
    isOver = true
    await Promise.all(clients)
    agent.destroy()
    expect(failures).toEqual([])
    expect(answered).toBeGreaterThan(20)
  })
})

describe('places to listen on', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mr-front-'))
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it('can be several, a unix socket among them, which is its owner’s alone', async () => {
    const { front } = await open({ serve: ({ peer }) => jsonAnswer(200, peer) })
    const path = join(mkdtempSync(join(tmpdir(), 'mr-front-')), 's.sock')
    writeFileSync(path, 'left behind')
    expect(await front.listen({ kind: 'socket', path })).toBe(0)
    expect((statSync(path).mode & 0o777).toString(8)).toBe('600')
    const { text: peer } = await send({ socketPath: path, path: '/' })
    expect(JSON.parse(peer)).toEqual({ address: '', isLocal: true, isSocket: true, commonName: null })
    rmSync(join(path, '..'), { recursive: true })
  })

  it('that are taken or do not exist are named', async () => {
    const { port } = await open()
    await expect(open({}, {}, { kind: 'port', host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'MR_LISTEN',
      message: `Cannot listen on 127.0.0.1:${port}: something else does already.`,
    })
    const path = join(folder, 'no', 'such.sock')
    await expect(open({}, {}, { kind: 'socket', path })).rejects.toMatchObject({
      code: 'MR_LISTEN',
      message: expect.stringContaining(path),
    })
  })

  it('can be one port for several fronts, where the system offers that', async () => {
    const first = await open(
      { serve: () => text('first') },
      {},
      { kind: 'port', host: '127.0.0.1', port: 0, shared: true },
    )
    const where = { kind: 'port', host: '127.0.0.1', port: first.port, shared: true } as const
    await open({ serve: () => text('second') }, {}, where)
    const answers = await Promise.all(Array.from({ length: 60 }, () => send({ port: first.port, path: '/' })))
    expect(new Set(answers.map(({ text: who }) => who))).toEqual(new Set(['first', 'second']))
  })
})
