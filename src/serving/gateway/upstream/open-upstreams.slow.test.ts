import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import type { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openUpstreams } from './open-upstreams.ts'

let folder = ''
const servers: Server[] = []
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'mr-open-'))))
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
  rmSync(folder, { recursive: true })
})

async function listen(server: Server, path: string): Promise<string> {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return path
}

it('speaks frames to whoever has a socket for them, and HTTP to an older replica', async () => {
  const began: string[] = []
  const frames = createServer((socket) => {
    socket.once('data', (bytes) => {
      began.push(bytes.toString('latin1', 0, 8))
      socket.destroy()
    })
  })
  const framesPath = await listen(frames, join(folder, 'r.frames'))
  const http = createHttpServer((_asked, response) => response.end('{"ready":true}'))
  const socketPath = await listen(http, join(folder, 'r.sock'))
  const open = openUpstreams()
  const framed = open({ replicaId: 'new', socketPath, framesPath })
  const old = open({ replicaId: 'old', socketPath })
  expect(await framed.probe(1_000)).toBe(false)
  expect(began).toEqual(['MRFRAME1'])
  expect(await old.probe(1_000)).toBe(true)
  framed.close()
  old.close()
})
