import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe } from 'vitest'
import { failures, figures, sceneTest as it, tookMs } from '../../testing/gateway-scene.ts'
import type { LoopAnswer } from '../../testing/open-loop.ts'
import { stopwatch } from '../../testing/stopwatch.ts'

/* What is promised of replicas that die or hang, in times: one test after another, so that none is in another's way. */

/** How long it takes until this is said, by the time that this process, with the gateway and its clients, could run. */
async function timeUntil(isTrue: () => boolean): Promise<number> {
  const watch = stopwatch()
  while (!isTrue()) {
    if (watch.ms() > 10_000) throw new Error('it did not happen within 10 s')
    await sleep(5)
  }
  watch.stop()
  return watch.ms()
}

/**
 * What is promised of a frozen replica: suspected after 250 ms, or three times the slowest answer, out after half a second
 * more; looked at every 100 ms. Under a second where answers take less than 80 ms, as on a machine that has nothing else to do.
 */
function frozenIsOutAfterMs(answers: LoopAnswer[]): number {
  return Math.max(250, 3 * Math.max(...tookMs(answers))) + 500 + 2 * 100
}

describe('a replica that is killed under 500 requests a second', () => {
  it('gets no request a second later, and none fails, five times over', async ({ scene, expect }) => {
    const replicas = await Promise.all(['a', 'b', 'c'].map((name) => scene.lab.replicaProcess(name, 5)))
    await scene.publish(replicas)
    const { answers, stop } = scene.startLoop(500)
    await sleep(1_000)
    const outMs: number[] = []
    for (let round = 0; round < 5; round++) {
      const victim = replicas[round % 3] as (typeof replicas)[number]
      const before = scene.toldOf('replica out', victim.replicaId).length
      victim.process.kill('SIGKILL')
      outMs.push(await timeUntil(() => scene.toldOf('replica out', victim.replicaId).length > before))
      await sleep(300)
      replicas[round % 3] = await scene.lab.replicaProcess(victim.replicaId, 5)
      await timeUntil(() => scene.toldOf('replica up', victim.replicaId).length > before)
      await sleep(200)
    }
    await stop()
    figures('SIGKILL', answers, outMs)
    expect(failures(answers)).toEqual([])
    expect(answers.length).toBeGreaterThan(2_000)
    expect(Math.max(...outMs)).toBeLessThan(1_000)
  }, 60_000)
})

describe('a replica that is frozen under 500 requests a second', () => {
  it('is left out soon, what it had is answered by others, and it serves again once it is awake', async ({
    scene,
    expect,
  }) => {
    const replicas = await Promise.all(['a', 'b', 'c'].map((name) => scene.lab.replicaProcess(name, 5)))
    await scene.publish(replicas)
    const { answers, stop } = scene.startLoop(500)
    await sleep(1_000)
    const frozen = replicas[0] as (typeof replicas)[number]
    frozen.process.kill('SIGSTOP')
    const promisedMs = frozenIsOutAfterMs(answers)
    const outMs = await timeUntil(() => scene.toldOf('replica ejected', 'a').length === 1)
    await sleep(1_000)
    frozen.process.kill('SIGCONT')
    await expect.poll(() => scene.toldOf('replica up', 'a').length, { timeout: 10_000 }).toBe(1)
    await sleep(500)
    await stop()
    figures('SIGSTOP', answers, [outMs])
    expect(failures(answers)).toEqual([])
    expect(outMs).toBeLessThan(promisedMs)
    expect(scene.told.filter(({ what }) => what === 'replica out')).toEqual([])
    for (const other of replicas.slice(1)) other.process.kill('SIGKILL')
    expect((await scene.ask()).status).toBe(200)
  }, 60_000)

  it('the same with model servers', async ({ scene, expect }) => {
    const servers = [await scene.lab.modelServer('a'), await scene.lab.modelServer('b')]
    await scene.publish(servers)
    const { answers, stop } = scene.startLoop(500)
    await sleep(1_000)
    servers[0]?.process.kill('SIGSTOP')
    const promisedMs = frozenIsOutAfterMs(answers)
    const outMs = await timeUntil(() => scene.toldOf('replica ejected', 'a').length === 1)
    await sleep(500)
    await stop()
    figures('SIGSTOP of a model server', answers, [outMs])
    expect(failures(answers)).toEqual([])
    expect(outMs).toBeLessThan(promisedMs)
  }, 60_000)
})

describe('a model server that is told to stop before the routes say so', () => {
  it('finishes what it has, and what comes then is answered by another', async ({ scene, expect }) => {
    const servers = [await scene.lab.modelServer('a'), await scene.lab.modelServer('b')]
    await scene.publish(servers)
    const { answers, stop } = scene.startLoop(300)
    await sleep(1_000)
    const [leaving] = servers
    leaving?.process.kill('SIGTERM')
    await once(leaving?.process as NonNullable<typeof leaving>['process'], 'exit')
    await sleep(500)
    await stop()
    figures('SIGTERM of a model server', answers, [])
    expect(failures(answers)).toEqual([])
    expect(scene.toldOf('replica out', 'a').length).toBeGreaterThan(0)
  }, 30_000)
})

describe('a deployment of nothing but replicas that hang', () => {
  it('is not asked any more after ten requests: callers are told at once, and it serves once one is back', async ({
    scene,
    expect,
  }) => {
    const replicas = [await scene.lab.replicaProcess('a'), await scene.lab.replicaProcess('b')]
    await scene.publish(replicas, { timeoutMs: 1_000 })
    const ask = () => scene.ask()
    for (let i = 0; i < 10; i++) expect((await ask()).status).toBe(200)
    for (const { process } of replicas) process.kill('SIGSTOP')
    const stuck = await Promise.all(Array.from({ length: 12 }, ask))
    expect(stuck.every(({ status }) => status === 504 || status === 503)).toBe(true)
    const watch = stopwatch()
    const refused = await ask()
    expect(refused.status).toBe(503)
    expect(refused.headers['retry-after']).toBe('1')
    expect(watch.ms()).toBeLessThan(500)
    watch.stop()
    expect(
      scene.told.some(({ what, facts }) => what === 'circuit open' && facts['deploymentId'] === 'deployment-1'),
    ).toBe(true)
    for (const { process } of replicas) process.kill('SIGCONT')
    await expect.poll(async () => (await ask()).status, { timeout: 20_000, interval: 200 }).toBe(200)
    expect(scene.told.some(({ what }) => what === 'circuit closed')).toBe(true)
  }, 60_000)
})

describe('a deployment of one replica that hangs', () => {
  it('says so to its callers, and serves soon after it has woken up, however long it hung', async ({
    scene,
    expect,
  }) => {
    const only = await scene.lab.replicaProcess('only')
    await scene.publish([only], { timeoutMs: 500 })
    const ask = () => scene.ask()
    for (let i = 0; i < 10; i++) expect((await ask()).status).toBe(200)
    only.process.kill('SIGSTOP')
    const stuck = await Promise.all(Array.from({ length: 12 }, ask))
    expect(new Set(stuck.map(({ status, text }) => `${status} ${text}`))).toContain(
      `504 {"error":"Endpoint 'late-flights' did not answer within 500 ms."}`,
    )
    // Asked on, until the circuit is open for longer than the test would wait below.
    const opened = () => scene.told.filter(({ what }) => what === 'circuit open').length
    await expect.poll(async () => (await ask(), opened()), { timeout: 15_000, interval: 100 }).toBeGreaterThanOrEqual(1)
    await expect
      .poll(async () => Number((await ask()).headers['retry-after'] ?? 0), { timeout: 40_000, interval: 100 })
      .toBeGreaterThanOrEqual(7)
    const refused = await ask()
    expect([refused.status, refused.text]).toEqual([
      503,
      `{"error":"Endpoint 'late-flights' can't answer now: its last requests got no answer, so it is given time."}`,
    ])
    only.process.kill('SIGCONT')
    await expect.poll(async () => (await ask()).status, { timeout: 5_000, interval: 50 }).toBe(200)
    expect(scene.told.some(({ what }) => what === 'circuit closed')).toBe(true)
    expect(scene.told.filter(({ what }) => what === 'replica ejected')).toEqual([])
  }, 90_000)
})

describe('replicas that come and go by the routes, under 500 requests a second', () => {
  it('are found and left within a second, and no request fails', async ({ scene, expect }) => {
    let current = [await scene.lab.replicaProcess('r0', 5), await scene.lab.replicaProcess('r1', 5)]
    await scene.publish(current)
    const { answers, stop } = scene.startLoop(500)
    for (let n = 2; n < 8; n++) {
      const next = await scene.lab.replicaProcess(`r${n}`, 5)
      const watch = stopwatch()
      const [leaving, ...rest] = current as [(typeof current)[number], ...typeof current]
      current = [...rest, next]
      await scene.publish(current)
      expect(watch.ms()).toBeLessThan(1_000)
      watch.stop()
      await sleep(200) // what it has is finished by then
      leaving.process.kill('SIGKILL')
    }
    await stop()
    figures('rolling', answers, [])
    expect(failures(answers)).toEqual([])
    expect(scene.told.filter(({ what }) => what.startsWith('replica'))).toEqual([])
  }, 60_000)
})
