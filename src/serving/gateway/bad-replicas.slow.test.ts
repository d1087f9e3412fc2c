import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe } from 'vitest'
import type { RoutedReplica } from '../../kernel/contract/routing.ts'
import type { Lab } from '../../testing/gateway-lab.ts'
import { failures, figures, sceneTest as it, tookMs } from '../../testing/gateway-scene.ts'
import { quantile } from '../../testing/open-loop.ts'

/* Replicas that do anything but answer, beside one that does: callers notice nothing. */

const PER_SECOND = 100
/** On a machine that is busy with other things fewer are sent: they are not to wait for each other. */
const AT_ONCE = 12

/** A replica on a bare socket: gets each connection. */
async function bareReplica(lab: Lab, serve: (socket: Socket) => void): Promise<RoutedReplica> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    serve(socket)
  })
  await new Promise<void>((resolve) => server.listen(lab.socket('bad'), () => resolve()))
  lab.onClose(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { replicaId: 'bad', socketPath: lab.socket('bad') }
}

const READY = 'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"ready":true}'

/** Ready, and this to whatever else is asked. */
const sayingReady = (answer: string) => (lab: Lab) =>
  bareReplica(lab, (socket) =>
    socket.on('data', (bytes) => socket.write(bytes.subarray(0, 3).toString() === 'GET' ? READY : answer)),
  )

const healthy = (lab: Lab, answer: (response: ServerResponse) => void) =>
  lab.replica('bad', (request: IncomingMessage, response) => {
    request.resume()
    if (request.method === 'GET') response.end('{"ready":true}')
    else answer(response)
  })

describe('a bad replica beside a good one', () => {
  it.for<[string, (lab: Lab) => Promise<RoutedReplica>]>([
    ['takes requests and never answers anything', (lab) => bareReplica(lab, (socket) => void socket.resume())],
    ['answers garbage', sayingReady('\0\xffHTTP/9.9 ?\r\n\r\n')],
    ['begins answers and never ends them', sayingReady('HTTP/1.1 200 OK\r\n')],
    [
      'dies in the middle of every answer',
      (lab) =>
        healthy(lab, (response) => {
          response.writeHead(200, { 'content-length': 1_000 })
          response.write('{"model_name"', () => response.destroy())
        }),
    ],
    ['closes every connection that brings a request', (lab) => healthy(lab, (response) => void response.destroy())],
    [
      'says that it is ready, and 503 to every request',
      (lab) => healthy(lab, (response) => void response.writeHead(503).end('{"error":"loading"}')),
    ],
  ])('that %s fails no request', { timeout: 120_000 }, async ([what, bad], { scene, expect }) => {
    const good = await scene.lab.replicaProcess('good', 2)
    await scene.publish([good], { timeoutMs: 3_000 })
    const { answers, stop } = scene.startLoop(PER_SECOND, AT_ONCE)
    await expect.poll(() => answers.length, { timeout: 20_000 }).toBeGreaterThan(40)
    const before = quantile(tookMs(answers), 0.9)
    await scene.publish([good, await bad(scene.lab)], { timeoutMs: 3_000 })
    // One that keeps its requests is asked for little, and each of the five failures takes as long as an attempt may.
    await expect
      .poll(() => scene.told.some(({ facts }) => facts['replicaId'] === 'bad'), { timeout: 60_000 })
      .toBe(true)
    await sleep(2_500)
    await stop()
    figures(what, answers)
    expect(failures(answers)).toEqual([])
    expect(scene.told.filter(({ facts }) => facts['replicaId'] === 'good')).toEqual([])
    // The time it was asked in vain costs some requests a retry, not all of them their speed.
    expect(quantile(tookMs(answers), 0.9)).toBeLessThan(150 + before * 5)
  })

  it('that answers errors gives five of them, and is left out', async ({ scene, expect }) => {
    const good = await scene.lab.replicaProcess('good', 2)
    await scene.publish([good])
    const { answers, stop } = scene.startLoop(PER_SECOND, AT_ONCE)
    await sleep(500)
    const bad = await healthy(scene.lab, (response) => void response.writeHead(500).end('{"error":"broken"}'))
    await scene.publish([good, bad])
    await expect.poll(() => scene.toldOf('replica ejected', 'bad').length, { timeout: 20_000 }).toBe(1)
    await sleep(1_000)
    await stop()
    const failed = failures(answers)
    expect(failed.length).toBeGreaterThanOrEqual(5)
    expect(failed.length).toBeLessThan(15) // those that were on their way together
    expect(failed.every(([, status]) => status === 500)).toBe(true)
    expect(scene.toldOf('replica ejected', 'bad').map(({ facts }) => facts['why'])).toEqual([
      expect.stringMatching(/^5 failures in a row, it answers 500; for 5000 ms$/),
    ])
  }, 120_000)

  it('that flaps, killed and started again and again, fails no request', async ({ scene, expect }) => {
    const good = await scene.lab.replicaProcess('good', 2)
    let bad = await scene.lab.replicaProcess('bad', 2)
    await scene.publish([good, bad])
    const { answers, stop } = scene.startLoop(PER_SECOND, AT_ONCE)
    const toldOf = (what: string) => scene.toldOf(what, 'bad').length
    for (let round = 0; round < 6; round++) {
      await sleep(250)
      bad.process.kill('SIGKILL')
      await once(bad.process, 'exit')
      bad = await scene.lab.replicaProcess('bad', 2)
      await expect.poll(() => toldOf('replica up') === toldOf('replica out'), { timeout: 20_000 }).toBe(true)
    }
    await stop()
    expect(failures(answers)).toEqual([])
    expect(toldOf('replica out')).toBeGreaterThan(3)
  }, 120_000)
})
