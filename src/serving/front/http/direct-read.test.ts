import { createServer, connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { readDirectly } from './direct-read.ts'

let close = (): void => undefined
afterEach(() => close())

async function pair(): Promise<{ ours: Socket; client: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [ours] = (await once(server, 'connection')) as [Socket]
  close = () => {
    client.destroy()
    ours.destroy()
    server.close()
  }
  return { ours, client }
}

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

describe('a socket that is read directly', () => {
  it('gives what comes without its stream', async () => {
    const { ours, client } = await pair()
    let text = ''
    let events = 0
    readDirectly(ours, (bytes) => (text += bytes.toString()))
    ours.on('data', () => (events += 1))
    client.write('one')
    await until(() => text === 'one')
    client.write('two')
    await until(() => text === 'onetwo')
    expect(events).toBe(0)
  })

  it('keeps what comes while it is paused, and the order of all', async () => {
    const { ours, client } = await pair()
    let text = ''
    readDirectly(ours, (bytes) => {
      text += bytes.toString()
      if (text.endsWith('a')) ours.pause()
    })
    const sent = `a${'b'.repeat(300_000)}`
    client.write('a')
    await until(() => text === 'a')
    client.write(sent.slice(1))
    await until(() => ours.readableLength > 0)
    expect(text).toBe('a')
    ours.resume()
    await until(() => text.length === sent.length)
    client.write('c')
    await until(() => text.endsWith('c'))
    expect(text).toBe(`${sent}c`)
  })

  it('says when the other side ends', async () => {
    const { ours, client } = await pair()
    let text = ''
    readDirectly(ours, (bytes) => (text += bytes.toString()))
    const ended = once(ours, 'end')
    client.end('last')
    await ended
    expect(text).toBe('last')
  })
})
