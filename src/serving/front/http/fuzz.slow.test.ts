import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { seededRandom } from '../../../kernel/stats/random.ts'
import { echo, fronts, until } from '../../../testing/front-lab.ts'
import { mutatedStream } from '../../../testing/http-fuzz.ts'
import { fuzzServer } from '../../../testing/http-fuzz-client.ts'

const { open, close } = fronts()
afterEach(close)

it('answers five thousand streams that were changed at random as its parser says, never with a 5xx, and keeps nothing', async () => {
  const serve = async (request: Parameters<typeof echo>[0]) => {
    if (request.target.includes('m')) await sleep(1)
    return echo(request)
  }
  const { port, front, told } = await open({ serve })
  const order = { where: { port, host: '127.0.0.1' }, streams: 5_000, connections: 32, make: mutatedStream } as const
  const { wrong, statuses, streams } = await fuzzServer({ ...order, server: 'front', random: seededRandom(4) })
  expect(wrong).toEqual([])
  expect(told).toEqual([])
  expect(streams).toBeGreaterThanOrEqual(5_000)
  expect(statuses.get(200)).toBeGreaterThan(2_000)
  expect(statuses.get(400)).toBeGreaterThan(1_000)
  await until(() => front.connections === 0 && front.underWay === 0, 'all to be gone')
})
