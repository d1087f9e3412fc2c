import { createServer, connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { Outbox } from './outbox.ts'

let close = (): void => undefined
afterEach(() => close())

async function pair(): Promise<{ ours: Socket; peer: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const ours = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [peer] = (await once(server, 'connection')) as [Socket]
  close = () => {
    ours.destroy()
    peer.destroy()
    server.close()
  }
  return { ours, peer }
}

const MORE_THAN_SYSTEMS_BUFFER = 32_000_000

/** How often something is written to a socket. */
function writesOf(socket: Socket): () => number {
  let writes = 0
  const write = socket.write.bind(socket) as (bytes: Buffer) => boolean
  socket.write = ((bytes: Buffer) => {
    writes += 1
    return write(bytes)
  }) as Socket['write']
  return () => writes
}

describe('an outbox', () => {
  it('writes what it is given in one turn at once, and each turn anew', async () => {
    const { ours, peer } = await pair()
    const writes = writesOf(ours)
    let text = ''
    peer.on('data', (bytes: Buffer) => (text += bytes.toString()))
    const outbox = new Outbox(ours, 'turn-end')
    for (const word of ['one ', 'two ', 'three ']) outbox.raw(Buffer.from(word))
    expect(writes()).toBe(0)
    await turn()
    expect(writes()).toBe(1)
    outbox.raw(Buffer.from('four'))
    while (text !== 'one two three four') await turn()
    expect(writes()).toBe(2)
  })

  it('keeps those of several sockets apart, though they are written at the end of the same turn', async () => {
    const [a, b] = [await pair(), await pair()]
    const texts = { a: '', b: '' }
    a.peer.on('data', (bytes: Buffer) => (texts.a += bytes.toString()))
    b.peer.on('data', (bytes: Buffer) => (texts.b += bytes.toString()))
    const boxes = [new Outbox(a.ours, 'turn-end'), new Outbox(b.ours, 'turn-end')]
    for (let i = 0; i < 100; i += 1) for (const [n, box] of boxes.entries()) box.raw(Buffer.from(`${n}:${i} `))
    const expected = (n: number): string => Array.from({ length: 100 }, (_, i) => `${n}:${i} `).join('')
    while (texts.a.length + texts.b.length < expected(0).length * 2) await turn()
    expect(texts).toEqual({ a: expected(0), b: expected(1) })
    a.ours.destroy()
  })

  it('is stuck while the other side takes nothing, and no longer once it does', async () => {
    const { ours, peer } = await pair()
    peer.pause()
    const outbox = new Outbox(ours, 'now')
    expect(outbox.stuckMs()).toBe(0)
    outbox.raw(Buffer.alloc(MORE_THAN_SYSTEMS_BUFFER))
    const waitUntilMs = performance.now() + 30
    while (performance.now() < waitUntilMs) await turn()
    expect(outbox.stuckMs()).toBeGreaterThanOrEqual(20)
    peer.resume()
    while (outbox.backlogBytes > 0) await turn()
    expect(outbox.stuckMs()).toBe(0)
  })
})
