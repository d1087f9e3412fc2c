import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { fronts, get, RawClient, text, until } from '../../../testing/front-lab.ts'
import { send } from '../../../testing/gateway-lab.ts'
import type { Answer } from '../answer.ts'

const { open, close } = fronts()
afterEach(close)

describe('a streamed answer', () => {
  async function* parts(count: number, everyMs = 0): AsyncGenerator<Buffer> {
    for (let n = 0; n < count; n += 1) {
      if (everyMs > 0) await sleep(everyMs)
      yield Buffer.from(`part ${n}\n`)
    }
  }
  const streamed = (stream: AsyncIterable<Buffer>): Answer => ({ ...text(''), stream })

  it('is sent in chunks as it comes, and the connection is kept', async () => {
    const { port } = await open({ serve: () => streamed(parts(3, 30)) })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let turn = 0; turn < 2; turn += 1) {
      const { headers, text: whole } = await send({ port, path: '/', agent })
      expect(headers['transfer-encoding']).toBe('chunked')
      expect(headers).not.toHaveProperty('content-length')
      expect(whole).toBe('part 0\npart 1\npart 2\n')
    }
    agent.destroy()
  })

  it('reaches a client as a whole that reads it slowly, however large a part is', async () => {
    const part = Buffer.alloc(20_000_000, 'x')
    async function* one(): AsyncGenerator<Buffer> {
      yield part
    }
    const { port } = await open({ serve: () => streamed(one()) }, { unreadMs: 1_000 })
    const slow = new RawClient(port).say(get('/', 'Connection: close'))
    for (let turn = 0; turn < 8; turn += 1) {
      slow.socket.pause()
      await sleep(200)
      slow.socket.resume()
      await sleep(50)
    }
    expect((await slow.closed()).length).toBeGreaterThan(part.length)
  })

  it('leaves part by part', async () => {
    const { port } = await open({ serve: () => streamed(parts(2, 200)) })
    const client = new RawClient(port).say(get('/'))
    await until(() => client.heard.includes('part 0'), 'the first part')
    expect(client.heard).not.toContain('part 1')
    await until(() => client.heard.endsWith('0\r\n\r\n'), 'the end')
    expect(client.heard).toContain('\r\n\r\n7\r\npart 0\n\r\n7\r\npart 1\n\r\n0\r\n\r\n')
  })

  it('is not framed for HTTP/1.0, which it closes, and not begun for HEAD', async () => {
    let ended = 0
    const { port } = await open({
      serve: () =>
        streamed({
          [Symbol.asyncIterator]() {
            const iterator = parts(2)
            return { next: () => iterator.next(), return: () => ((ended += 1), iterator.return(undefined)) }
          },
        }),
    })
    const old = await new RawClient(port).say('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n').closed()
    expect(old).toMatch(/\r\nConnection: close\r\n\r\npart 0\npart 1\n$/)
    expect(ended).toBe(0)
    const client = new RawClient(port).say(`HEAD / HTTP/1.1\r\nHost: a\r\n\r\n`)
    await client.answers(1)
    expect(client.heard).toMatch(/Transfer-Encoding: chunked\r\n[^]*\r\n\r\n$/)
    expect(ended).toBe(1)
  })

  it('is never ahead of a client that does not read, and ends when it leaves', async () => {
    let yielded = 0
    let hasEnded = false
    const reasons: unknown[] = []
    async function* endless(): AsyncGenerator<Buffer> {
      try {
        for (;;) {
          yielded += 1
          yield Buffer.alloc(100_000, 'x')
        }
      } finally {
        hasEnded = true
      }
    }
    const { port, front } = await open({
      serve: ({ cancellation }) => {
        cancellation.onCancel(() => reasons.push(cancellation.reason))
        return streamed(endless())
      },
    })
    const client = new RawClient(port).say(get('/'))
    client.socket.pause()
    await until(() => yielded > 1, 'the stream')
    await sleep(300)
    const before = yielded
    await sleep(100)
    expect(yielded).toBe(before)
    expect(yielded).toBeLessThan(200)
    client.socket.destroy()
    await until(() => hasEnded, 'the end of the stream')
    expect(reasons).toEqual(['client-gone'])
    await until(() => front.underWay === 0, 'nothing under way')
  })

  it('that breaks off is cut off, so that the client sees that it is not whole', async () => {
    const { port, told } = await open({
      serve: () =>
        streamed(
          (async function* () {
            yield Buffer.from('half')
            await sleep(10)
            throw new Error('no more')
          })(),
        ),
    })
    await expect(send({ port, path: '/' })).rejects.toThrow(/aborted|hang up|reset/i)
    expect(told).toEqual(['error an answer broke off {"error":"no more"}'])
  })

  it('holds the answers behind it back', async () => {
    const { port } = await open({ serve: ({ target }) => (target === '/s' ? streamed(parts(3, 20)) : text('behind')) })
    const client = new RawClient(port).say(get('/s') + get('/t', 'Connection: close'))
    const heard = await client.closed()
    expect(heard.indexOf('behind')).toBeGreaterThan(heard.indexOf('part 2'))
  })
})
