import { execSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { openFront, RawClient } from '../../../testing/front-lab.ts'
import type { FrontLab } from '../../../testing/front-lab.ts'

const closers: (() => unknown)[] = []
afterAll(async () => {
  for (const close of closers) await close()
})

/** As many as this process may have files open, some left for itself. */
const files = Number(execSync('ulimit -n', { encoding: 'utf8', shell: '/bin/sh' })) || Infinity
const COUNT = Math.min(10_000, files - 500)

async function idleClients({ port }: FrontLab): Promise<() => Promise<number>> {
  const file = fileURLToPath(new URL('../../../testing/idle-clients.ts', import.meta.url))
  const child = fork(file, [String(port), String(COUNT)], { execArgv: [] })
  closers.push(() => child.kill())
  expect((await once(child, 'message'))[0]).toBe(COUNT)
  return async () => {
    child.send('open?')
    return Number((await once(child, 'message'))[0])
  }
}

it(`keeps ${COUNT} idle connections, at little memory and hardly any work, and serves others meanwhile`, async () => {
  const lab = await openFront({}, { connections: 20_000 })
  closers.push(() => lab.front.close())
  const before = process.memoryUsage().rss
  const stillOpen = await idleClients(lab)
  expect(lab.front.connections).toBe(COUNT)
  const bytesEach = (process.memoryUsage().rss - before) / COUNT
  expect(bytesEach).toBeLessThan(40_000)

  const cpuBefore = process.cpuUsage()
  await sleep(3_000)
  const cpu = process.cpuUsage(cpuBefore)
  expect((cpu.user + cpu.system) / 3_000_000).toBeLessThan(0.2)

  const client = new RawClient(lab.port).say('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  expect(await client.answers(1)).toEqual([200])
  expect(await stillOpen()).toBe(COUNT)
  const drained = lab.front.drain({ idleMs: 100, limitMs: 20_000 })
  expect(await drained).toEqual({ abandoned: 0 })
  expect(lab.front.connections).toBe(0)
})
