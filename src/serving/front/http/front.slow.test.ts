import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import {
  BODY_LIMIT_BYTES,
  echo,
  fronts,
  get,
  lateHandler,
  post,
  RawClient,
  text,
  until,
} from '../../../testing/front-lab.ts'
import { send, sendRaw } from '../../../testing/gateway-lab.ts'
import { errorAnswer, jsonAnswer } from '../answer.ts'
import type { Answer } from '../answer.ts'

const { open, close } = fronts()
afterEach(close)

describe('an answer', () => {
  it('goes to the request, with its length, type and date, and the connection is kept', async () => {
    const { port } = await open()
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (const body of ['{"a":1}', 'x'.repeat(500_000), '']) {
      const response = await send({ port, path: '/x?y', method: 'POST', agent, headers: { 'X-Tag': 'T' } }, body)
      expect(response.status).toBe(200)
      expect(response.headers).toMatchObject({
        'content-type': 'application/json',
        'content-length': String(response.text.length),
        connection: 'keep-alive',
        'keep-alive': 'timeout=75',
      })
      expect(Math.abs(Date.parse(String(response.headers.date)) - Date.now())).toBeLessThan(3_000)
      expect(JSON.parse(response.text)).toMatchObject({
        method: 'POST',
        target: '/x?y',
        headers: { 'x-tag': 'T' },
        body,
      })
    }
    agent.destroy()
  })

  it('knows who asked', async () => {
    const { port } = await open({ serve: ({ peer }) => jsonAnswer(200, peer) })
    const peer = { address: '127.0.0.1', isLocal: true, isSocket: false, commonName: null }
    expect(JSON.parse((await send({ port, path: '/' })).text)).toEqual(peer)
  })

  it('has no body for HEAD, 204 and 304, and the length only for the first', async () => {
    const { port } = await open({
      serve: ({ target }) => ({ ...text(target === '/head' ? 'body' : ''), status: Number(target.slice(1)) || 200 }),
    })
    const client = new RawClient(port)
    client.say(`HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n${get('/204')}${get('/304')}${get('/200', 'Connection: close')}`)
    const heads = (await client.closed()).split('\r\n\r\n')
    expect(heads.map((head) => head.split('\r\n')[0])).toEqual([
      'HTTP/1.1 200 OK',
      'HTTP/1.1 204 No Content',
      'HTTP/1.1 304 Not Modified',
      'HTTP/1.1 200 OK',
      '',
    ])
    expect(heads.map((head) => /Content-Length: \d+/.exec(head)?.[0])).toEqual([
      'Content-Length: 4',
      undefined,
      undefined,
      'Content-Length: 0',
      undefined,
    ])
  })

  it('keeps a connection of HTTP/1.0 only when it is asked to, and says so', async () => {
    const { port } = await open()
    const once = await new RawClient(port).say('GET / HTTP/1.0\r\n\r\n').closed()
    expect(once).toContain('Connection: close\r\n')
    const client = new RawClient(port).say('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
    await client.answers(1)
    expect(client.heard).toContain('Connection: keep-alive\r\n')
    await client.say('GET / HTTP/1.0\r\n\r\n').closed()
    expect(client.statuses).toEqual([200, 200])
  })

  it('is 500 and told where the handler throws, at once, later, or when it is asked for admission', async () => {
    const failing = async (): Promise<Answer> => {
      await sleep(1)
      throw new Error('broken later')
    }
    const { port, told } = await open({
      serve: ({ target }) => {
        if (target === '/later') return failing()
        throw new Error('broken')
      },
      admit: ({ target }) => {
        if (target === '/admit') throw new Error('not admitted')
        return { kind: 'read', limitBytes: 10 }
      },
    })
    for (const path of ['/now', '/later', '/admit']) {
      const response = await send({ port, path })
      expect([response.status, response.text]).toEqual([500, '{"error":"The server failed; its log says why."}'])
      expect(response.headers['content-type']).toBe('application/json')
    }
    expect(told).toEqual([
      'error a request failed inside the server {"target":"/now","error":"broken"}',
      'error a request failed inside the server {"target":"/later","error":"broken later"}',
      'error a request failed inside the server {"target":"/admit","error":"not admitted"}',
    ])
  })

  it('is 500 where its headers would break it apart, and says of its framing only what the front says', async () => {
    const { port, told } = await open({
      serve: ({ target }) => ({
        status: 200,
        headers: target === '/bad' ? ['X', 'a\r\nY: b'] : ['content-length', '99', 'Transfer-Encoding', 'x', 'X', 'ä'],
        body: Buffer.from('hello'),
      }),
    })
    expect((await send({ port, path: '/bad' })).status).toBe(500)
    expect(told).toEqual([expect.stringContaining('error an answer could not be sent')])
    const good = await send({ port, path: '/good' })
    expect(good.headers).toMatchObject({ 'content-length': '5', x: 'ä' })
    expect(good.headers).not.toHaveProperty('transfer-encoding')
  })

  it('is followed by what is to follow it, once, after it was sent', async () => {
    const order: string[] = []
    const { port, told } = await open({
      serve: () => ({
        ...text('x'),
        afterSent: () => {
          order.push('after')
          throw new Error('too late')
        },
      }),
    })
    await send({ port, path: '/' })
    await until(() => order.length > 0, 'what follows')
    expect(order).toEqual(['after'])
    expect(told).toEqual(['error what follows an answer failed {"error":"too late"}'])
  })
})

describe('requests behind one another', () => {
  it('are answered in their order, whichever is ready first', async () => {
    const late = lateHandler()
    const { port } = await open(late)
    const client = new RawClient(port).say(get('/1') + get('/2') + get('/3', 'Connection: close'))
    await until(() => late.waiting.length === 3, 'three requests')
    for (const path of ['/3', '/2', '/1']) {
      expect(client.heard).toBe('')
      late.answer(path)
      await sleep(20)
    }
    expect((await client.closed()).match(/\/\d/g)?.filter((found) => found !== '/1' || true)).toContain('/3')
    expect(
      client.heard
        .split('\r\n\r\n')
        .slice(1)
        .map((part) => part.slice(0, 2)),
    ).toEqual(['/1', '/2', '/3'])
  })

  it('are read ahead up to a limit, and all answered', async () => {
    let most = 0
    let now = 0
    const { port } = await open(
      {
        async serve({ target }) {
          most = Math.max(most, (now += 1))
          await sleep(1)
          now -= 1
          return text(target)
        },
      },
      { pipelined: 4 },
    )
    const client = new RawClient(port)
    const paths = Array.from({ length: 200 }, (_, n) => `/${n}`)
    client.say(paths.map((path) => get(path)).join(''))
    await client.answers(200)
    expect(client.heard.match(/(?<=\r\n\r\n)\/\d+/g)).toEqual(paths)
    expect(most).toBe(4)
  })

  it('that are bad are answered after the good ones before them', async () => {
    const late = lateHandler()
    const { port } = await open(late)
    const client = new RawClient(port).say(`${get('/1')}${get('/2')}BROKEN\r\n\r\n${get('/3')}`)
    await until(() => late.waiting.length === 2, 'two requests')
    late.answer('/2')
    late.answer('/1')
    await client.closed()
    expect(client.statuses).toEqual([200, 200, 400])
    expect(late.waiting).toEqual([])
  })

  it('are not read behind one that closes', async () => {
    const { port } = await open()
    await expect(sendRaw(port, get('/1', 'Connection: close') + get('/2'))).resolves.not.toContain('/2')
  })
})

describe('a body', () => {
  const admit = ({ target }: { target: string }) =>
    target === '/refused'
      ? ({ kind: 'answer', answer: errorAnswer(404, 'There is nothing.') } as const)
      : ({ kind: 'read', limitBytes: 10 } as const)

  it('over its limit is refused by its head alone, and where it comes in chunks, when it is reached', async () => {
    const { port, front } = await open({ admit })
    const declared = await new RawClient(port).say('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n').closed()
    expect(declared).toMatch(/^HTTP\/1\.1 413 /)
    expect(declared).toContain('{"error":"The request body is larger than the limit of 10 bytes."}')
    expect(declared).toContain('Connection: close')
    const chunked = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
    expect(await new RawClient(port).say(`${chunked}a\r\n0123456789\r\n1\r\nx\r\n`).closed()).toMatch(/ 413 /)
    expect((await new RawClient(port).say(`${chunked}a\r\n0123456789\r\n0\r\n\r\n`).answers(1))[0]).toBe(200)
    expect(front.underWay).toBe(0)
  })

  it('of 100 MB that is refused still lets its sender see the answer', async () => {
    const { port } = await open({ admit })
    const big = Buffer.alloc(100 * 1024 * 1024, 0x20)
    for (const headers of [{ 'content-length': String(big.length) }, { 'transfer-encoding': 'chunked' }]) {
      const answer = await send({ port, path: '/', method: 'POST', headers }, big)
      expect([answer.status, answer.headers['content-type'], answer.headers.connection]).toEqual([
        413,
        'application/json',
        'close',
      ])
    }
  })

  it('that nobody wants is read past when it is short, and cut off when it is long', async () => {
    const { port } = await open({ admit })
    const client = new RawClient(port)
    client.say(post('/refused', 'x'.repeat(60_000)) + get('/next'))
    expect(await client.answers(2)).toEqual([404, 200])
    client.say('POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n')
    await client.closed()
    expect(client.statuses).toEqual([404, 200, 404])
  })

  it('in many parts is put together', async () => {
    const { port } = await open({ serve: ({ body }) => text(String(body.length) + body.toString('latin1').slice(-3)) })
    const body = Buffer.alloc(900_000, 'abcdefghij')
    expect((await send({ port, path: '/', method: 'POST' }, body)).text).toBe('900000hij')
    const chunked = await send({ port, path: '/', method: 'POST', headers: { 'transfer-encoding': 'chunked' } }, body)
    expect(chunked.text).toBe('900000hij')
  })

  it('is refused with 503 where all bodies together are too much, and taken again afterwards', async () => {
    const late = lateHandler()
    const { port } = await open(late, { bodiesBytes: 1_000 })
    const first = new RawClient(port).say(post('/1', 'x'.repeat(900)))
    await until(() => late.waiting.length === 1, 'the first')
    const refused = await new RawClient(port).say(post('/2', 'x'.repeat(200))).closed()
    expect(refused).toMatch(/^HTTP\/1\.1 503 /)
    expect(refused).toContain('Retry-After: 1\r\n')
    late.answer('/1')
    await first.answers(1)
    new RawClient(port).say(post('/3', 'x'.repeat(900)))
    await until(() => late.waiting.length === 1, 'the third')
    late.answer('/3')
  })
})

describe('a body that is larger than all together may be', () => {
  it('is taken where it is alone, and holds up others only meanwhile', async () => {
    const late = lateHandler()
    const { port } = await open(late, { bodiesBytes: 1_000 })
    const alone = new RawClient(port).say(post('/1', 'x'.repeat(5_000)))
    await until(() => late.waiting.length === 1, 'the large one')
    expect(late.waiting[0]?.body.length).toBe(5_000)
    expect(await new RawClient(port).say(post('/2', 'x')).closed()).toMatch(/^HTTP\/1\.1 503 /)
    late.answer('/1')
    await alone.answers(1)
    const small = new RawClient(port).say(post('/3', 'x'))
    await until(() => late.waiting.length === 1, 'the small one')
    expect(await new RawClient(port).say(post('/4', 'x'.repeat(5_000))).closed()).toMatch(/^HTTP\/1\.1 503 /)
    late.answer('/3')
    await small.answers(1)
  })
})

describe('a client that asks before it sends', () => {
  const head = (length: number, ...fields: string[]): string =>
    `POST / HTTP/1.1\r\n${['Host: a', 'Expect: 100-continue', `Content-Length: ${length}`, ...fields].join('\r\n')}\r\n\r\n`

  it('is told to go on, or refused before it has sent anything', async () => {
    const { port } = await open()
    const client = new RawClient(port).say(head(2))
    await client.answers(1)
    expect(client.heard).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    client.say('hi')
    expect(await client.answers(2)).toEqual([100, 200])
    expect(await new RawClient(port).say(head(BODY_LIMIT_BYTES + 1)).closed()).toMatch(/^HTTP\/1\.1 413 /)
  })

  it('is not told so when it has sent its body already, or has none', async () => {
    const { port } = await open()
    expect(await new RawClient(port).say(`${head(2)}hi`).answers(1)).toEqual([200])
    expect(await new RawClient(port).say(head(0)).answers(1)).toEqual([200])
  })

  it('is told so after the answers to what it asked before', async () => {
    const late = lateHandler()
    const { port } = await open(late)
    const client = new RawClient(port).say(get('/1') + head(2))
    await until(() => late.waiting.length === 1, 'the first request')
    await sleep(30)
    expect(client.heard).toBe('')
    late.answer('/1')
    expect(await client.answers(2)).toEqual([200, 100])
  })

  it('and for anything else is refused with 417', async () => {
    const { port } = await open()
    const refused = await new RawClient(port).say(get('/', 'Expect: tea')).closed()
    expect(refused).toMatch(/^HTTP\/1\.1 417 /)
    expect(refused).toContain('{"error":"No other expectation than 100-continue can be met."}')
  })
})

describe('limits of all connections together', () => {
  it('of requests refuse what has work to do, not what asks for health', async () => {
    const late = lateHandler()
    const { port, front } = await open(late, { requests: 1 })
    const first = new RawClient(port).say(post('/1', 'x'))
    await until(() => front.underWay === 1, 'the first')
    const second = new RawClient(port).say(post('/2', 'x'))
    expect(await second.answers(1)).toEqual([503])
    expect(second.heard).toContain('{"error":"The server already works on 1 requests."}')
    const health = new RawClient(port).say(get('/3'))
    await until(() => late.waiting.length === 2, 'the health request')
    late.answer('/3')
    expect(await health.answers(1)).toEqual([200])
    late.answer('/1')
    expect(await first.answers(1)).toEqual([200])
    second.say(post('/4', 'x')) // its connection was kept
    await until(() => late.waiting.length === 1, 'the fourth')
    late.answer('/4')
    expect(await second.answers(2)).toEqual([503, 200])
  })

  it('of connections close one that was idle for a while for one that asks, and none that is at work', async () => {
    const late = lateHandler()
    const { port, front } = await open(
      { serve: (request) => (request.target === '/late' ? late.serve(request) : echo(request)) },
      { connections: 3 },
    )
    const busy = new RawClient(port).say(get('/late'))
    const idle = [new RawClient(port).say(get('/')), new RawClient(port)]
    await until(() => late.waiting.length === 1 && front.connections === 3, 'three connections')
    await idle[0]!.answers(1)
    expect(await new RawClient(port).closed()).toContain('HTTP/1.1 503 ')
    await sleep(1_100)
    const others = [new RawClient(port).say(get('/')), new RawClient(port).say(get('/'))]
    for (const other of others) expect(await other.answers(1)).toEqual([200])
    for (const one of idle) await one.closed()
    expect(front.connections).toBe(3)
    late.answer('/late')
    expect(await busy.answers(1)).toEqual([200])
  })

  it('of connections turn the next one away, until one has gone', async () => {
    const { port, front } = await open({}, { connections: 2 })
    const [first] = [new RawClient(port), new RawClient(port)]
    await until(() => front.connections === 2, 'two connections')
    const third = await new RawClient(port).closed()
    expect(third).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/)
    expect(third).toContain('{"error":"The server holds as many connections as it may."}')
    first?.socket.destroy()
    await until(() => front.connections === 1, 'one to be gone')
    expect(await new RawClient(port).say(get('/')).answers(1)).toEqual([200])
  })
})
