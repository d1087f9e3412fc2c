import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { install, predict, request, showLogsOnFailure, train, until, type Installation } from './harness.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'

/*
 * Replicas that follow the load, with real processes: they come with the load, go with it, all of them, and the next
 * request brings one back. Two gateways share the port. No request fails in any of it.
 */

const IDLE_MS = 5_000
const replicas = { min: 0, max: 3, targetConcurrency: 2, idle: '5s', wake: '20s' }
const serves = { ...quickModel.serving, replicas, timeout: '30s', maxBatchRows: 100_000 }

const scaled: Installation = install(
  quickFiles({
    gateway: { processes: 2 },
    models: { m: { ...quickModel, serving: serves } },
  }),
)
let url: string

beforeAll(async () => {
  await scaled.up()
  await train(scaled, 'm')
  // On a busy machine it may sleep again before anybody looks.
  const released = await until('m@1 to be released', async () => {
    const found = (await scaled.api.endpoints.list())[0]!
    return found.members.length > 0 && ['serving', 'asleep'].includes(found.state) ? found : null
  })
  url = released.url!
})
beforeEach(() => showLogsOnFailure(scaled))
afterAll(() => scaled.remove())

const memberNow = async () => (await scaled.api.endpoints.list())[0]!.members[0]!
const hasReplicas = (count: number, withinMs: number) =>
  until(
    `${count} replicas`,
    async () => {
      const { replicasReady, replicasWanted } = await memberNow()
      return replicasWanted === count && replicasReady === count ? true : null
    },
    { withinMs, everyMs: 200 },
  )

interface Load {
  answered: number
  failures: string[]
  stop(): Promise<void>
}

/** So many clients, each of which asks again once it is answered, with some rows so that an answer takes a while. */
function load(clients: number, pauseMs = 0): Load {
  const rows = 20_000
  const data = Array.from({ length: rows * 2 }, (_, i) => (i % 7) - 3)
  const body = JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [rows, 2], data }] })
  const running: Load = { answered: 0, failures: [], stop: async () => undefined }
  let stopped = false
  const client = async (): Promise<void> => {
    while (!stopped) {
      const { status, body: answer } = await request(url, body)
      if (status === 200) running.answered += 1
      else running.failures.push(`${status}: ${JSON.stringify(answer)}`)
      if (pauseMs > 0) await sleep(pauseMs)
    }
  }
  const clientsDone = Promise.all(Array.from({ length: clients }, client))
  running.stop = async () => {
    stopped = true
    await clientsDone
  }
  return running
}

describe('replicas that follow the load', () => {
  it('come with it, go with it, all of them, and one comes back with the next request; nothing fails', async () => {
    const heavy = load(12)
    await hasReplicas(3, 60_000)
    await heavy.stop()
    expect(heavy.answered).toBeGreaterThan(0)
    expect(heavy.failures).toEqual([])

    // Down to one a minute after the load, by a light one that never lets it sleep; then to none.
    const light = load(1, 200)
    await hasReplicas(1, 150_000)
    await light.stop()
    expect(light.failures).toEqual([])
    await hasReplicas(0, IDLE_MS + 30_000)
    expect((await scaled.api.endpoints.list())[0]).toMatchObject({ state: 'asleep' })

    const began = performance.now()
    const woken = await Promise.all(Array.from({ length: 8 }, () => predict(url, row(1, 0))))
    expect(new Set(woken.map(({ version }) => version))).toEqual(new Set(['1']))
    expect(performance.now() - began).toBeLessThan(20_000)
    const history = await scaled.api.events.list({ entity: 'replicas' })
    // They were eight: more than one may have come by now.
    const asleep = history.findLastIndex(({ to }) => to === '0 replicas')
    expect(history[asleep + 1]).toMatchObject({
      from: '0 replicas',
      cause: expect.stringMatching(/waits? for a replica/),
    })
  }, 400_000)

  it('are shared by two gateways on one port, both of which the status shows', async () => {
    const { processes } = await scaled.api.status.get()
    const gateways = processes.filter((process) => process.kind === 'gateway')
    expect(gateways.map(({ id, state }) => [id, state])).toEqual([
      ['gateway', 'running'],
      ['gateway-2', 'running'],
    ])
    await predict(url, row(1, 0))
    // Each connection may be either one's: both answer by the same routes.
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => request(url, { inputs: row(1, 0) }, { headers: { connection: 'close' } })),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  })

  it('survive the death of one of them: the other answers, and it comes back on the same port', async () => {
    await predict(url, row(1, 0))
    const pidOf = async () =>
      (await scaled.api.status.get()).processes.find((process) => process.id === 'gateway')?.pid ?? 0
    const before = await pidOf()
    process.kill(before, 'SIGKILL')
    await until('the gateway is back', async () => {
      const pid = await pidOf()
      return pid !== 0 && pid !== before ? true : null
    })
    const reports = async () => (await scaled.api.endpoints.list())[0]!
    await until('both serve', async () => ((await reports()).state === 'serving' ? true : null))
    await predict(url, row(1, 0))
    expect((await reports()).url).toBe(url)
  })
})
