import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ModelInput } from '../../config/input.ts'
import { seededRandom } from '../../kernel/stats/random.ts'
import type { Store } from '../../kernel/store/store.ts'
import { releaseLab, type ReleaseLab } from '../../testing/release-lab.ts'
import { testStore } from '../../testing/test-store.ts'
import { promoteTrial, stopTrial } from './trial-requests.ts'
import { routes } from './release-store.ts'

/*
 * The control plane killed between any two of its acts, and everything that may happen to a release in any order:
 * once a version was live, the endpoint always has members with a ready future and 100% between them.
 */

const model: ModelInput = {
  train: 'true',
  release: {
    strategy: 'shadow',
    shadow: { share: 100, soak: '1s', minRequests: 5, maxTime: '6s' },
    canary: {
      steps: [
        { weight: 20, soak: '1s' },
        { weight: 60, soak: '1s' },
      ],
      minRequests: 5,
      maxTime: '10s',
    },
  },
  serving: { replicas: 1 },
}

let store: Store
let lab: ReleaseLab
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())
beforeEach(async () => {
  lab = await releaseLab(store, { m: model })
  lab.rate.perSecond = 50
})
afterEach(() => lab.close())

class Killed extends Error {}

/** The same database, as a process sees it that is killed before or after its n-th transaction. */
function mortal(afterTransactions: number, moment: 'before' | 'after'): { store: Store; isDead: () => boolean } {
  let left = afterTransactions
  let dead = false
  const alive = () => {
    if (dead) throw new Killed('this control plane is dead')
  }
  const mortalStore: Store = {
    ...store,
    get db() {
      alive()
      return store.db
    },
    async transaction(work) {
      alive()
      left -= 1
      if (left > 0) return store.transaction(work)
      if (moment === 'after') await store.transaction(work)
      dead = true
      throw new Killed(`killed ${moment} transaction ${afterTransactions}`)
    },
  }
  return { store: mortalStore, isDead: () => dead }
}

/** What is wrong with the route; null: it could serve, and says what is tried. */
async function routeProblem(): Promise<string | null> {
  const champion = await lab.champion()
  if (champion === null) return null
  const [route] = await routes(store.db)
  const shares = await lab.shares()
  const running = await store.db.selectFrom('trial').selectAll().where('status', '=', 'running').execute()
  const members = [...route!.members, ...route!.mirrors].map((m) => m.deploymentId)
  const deployed = await store.db.selectFrom('deployment').select(['id', 'status']).where('id', 'in', members).execute()
  const problems: [wrong: boolean, what: string][] = [
    [route!.members.reduce((sum, m) => sum + m.weightPercent, 0) !== 100, 'shares are not 100%'],
    [!(shares[champion]! > 0), `${champion} is the champion and has no traffic`],
    [route!.trialId === null && Object.keys(shares).length > 1, 'traffic is split and nothing is tried'],
    [running.map((t) => t.id).join() !== (route!.trialId ?? ''), 'the route is not that of the trial that runs'],
    [deployed.some((d) => d.status !== 'starting' && d.status !== 'ready'), 'it leads to what does not serve'],
  ]
  const found = problems.filter(([wrong]) => wrong).map(([, what]) => what)
  return found.length === 0 ? null : `${found.join(', ')}: ${JSON.stringify({ shares, running, deployed })}`
}

describe('a control plane that is killed between two acts of a release', () => {
  it.each(['before', 'after'] as const)(
    'goes on where it was, and ends in the same: killed %s each',
    async (moment) => {
      await lab.approved()
      await lab.until('m@1 is live', async () => (await lab.champion()) === 'm@1')
      await lab.approved()
      let kills = 0
      // Every life ends at its third write, so that each act of the release is once the last of a life.
      for (let life = 0; life < 60 && (await lab.champion()) !== 'm@2'; life++) {
        const process = mortal(3, moment)
        await lab.restart(process.store)
        for (let i = 0; i < 40 && !process.isDead(); i++) await lab.pass().catch(ignoreKill)
        if (process.isDead()) kills++
        expect(await routeProblem()).toBeNull()
      }
      await lab.restart()
      await lab.until('m@2 is live', async () => (await lab.champion()) === 'm@2', 60_000)
      expect(kills).toBeGreaterThan(5)
      expect((await lab.trials('release-2')).map((t) => [t.kind, t.step, t.status])).toEqual([
        ['shadow', 0, 'ended'],
        ['canary', 1, 'ended'],
        ['canary', 2, 'ended'],
      ])
      expect(await routeProblem()).toBeNull()
    },
  )

  it.each(['before', 'after'] as const)('takes back what shows harm, also when killed %s each act', async (moment) => {
    await lab.approved()
    await lab.until('m@1 is live', async () => (await lab.champion()) === 'm@1')
    await lab.approved()
    await lab.until('m@2 has traffic', async () => (await lab.status('release-2')) === 'canary')
    lab.behaviour.set('m@2', { errorRate: 1 })
    for (let life = 0; life < 20 && (await lab.status('release-2')) === 'canary'; life++) {
      const process = mortal(1 + (life % 3), moment)
      await lab.restart(process.store)
      for (let i = 0; i < 20 && !process.isDead(); i++) await lab.pass().catch(ignoreKill)
      expect(await routeProblem()).toBeNull()
    }
    await lab.restart()
    await lab.until('taken back', async () => (await lab.status('release-2')) === 'rolled-back')
    expect([await lab.shares(), await lab.champion()]).toEqual([{ 'm@1': 100 }, 'm@1'])
  })
})

describe('whatever happens to a release, in any order', () => {
  it.each([1, 2, 3])('the endpoint has a champion that serves: seed %i', async (seed) => {
    const random = seededRandom(seed)
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random.uniform() * from.length)]!
    await lab.approved()
    await lab.until('m@1 is live', async () => (await lab.champion()) === 'm@1')
    const versions = async () => (await store.db.selectFrom('version').select('id').execute()).map((v) => v.id)
    const request = { endpoint: 'm', why: 'test', by: 'ann' }
    const happenings: Record<string, () => Promise<unknown>> = {
      release: () => lab.approved(),
      wait: () => lab.pass(3),
      longer: () => lab.pass(8),
      harm: async () => lab.behaviour.set(pick(await versions()), { errorRate: 1 }),
      slow: async () => lab.behaviour.set(pick(await versions()), { latencyMs: 500 }),
      heal: async () => lab.behaviour.clear(),
      die: async () => lab.down.add(pick(await versions())),
      live: async () => lab.down.clear(),
      quiet: async () => (lab.rate.perSecond = 0),
      busy: async () => (lab.rate.perSecond = 50),
      stop: () => store.transaction((tx) => stopTrial(tx, lab.clock, request)).catch(ignoreRefusal),
      promote: () => store.transaction((tx) => promoteTrial(tx, lab.clock, request)).catch(ignoreRefusal),
      rollBack: async () => {
        const live = (await store.db.selectFrom('alias').select('version_id').execute()).map((a) => a.version_id)
        return lab.rollBackTo(pick(live))
      },
      reject: async () => {
        const champion = await lab.champion()
        const others = (await versions()).filter((id) => id !== champion)
        return others.length === 0 ? null : lab.approve(pick(others), 'rejected')
      },
      restart: () => lab.restart(),
      kill: async () => {
        await lab.restart(mortal(1 + Math.floor(random.uniform() * 4), pick(['before', 'after'])).store)
        for (let i = 0; i < 4; i++) await lab.pass().catch(ignoreKill)
        await lab.restart()
      },
      clockBack: async () => lab.clock.set(-60_000),
    }
    const often = ['release', 'longer', 'longer', 'longer', 'heal', 'live', 'busy', 'harm']
    const names = [...Object.keys(happenings), ...often]
    const done: string[] = []
    // A canary is under way from the start.
    await lab.approved()
    await lab.pass(8)
    for (let i = 0; i < 30; i++) {
      const name = pick(names)
      done.push(name)
      await happenings[name]!()
      await lab.pass()
      expect({ done, problem: await routeProblem() }).toEqual({ done, problem: null })
    }
    // With everybody alive again whatever is open comes to an end, and the champion serves alone.
    lab.down.clear()
    lab.behaviour.clear()
    lab.rate.perSecond = 50
    await lab.until(
      'settled',
      async () =>
        (await lab.statuses()).every((s) => !/queued|deploying|preflight|switching|shadowing|canary|held/.test(s)),
      120_000,
    )
    expect(await lab.shares()).toEqual({ [(await lab.champion())!]: 100 })
    const trials = await store.db.selectFrom('trial').select('id').execute()
    expect(trials.length).toBeGreaterThanOrEqual(3)
  })
})

function ignoreKill(error: unknown): void {
  if (!(error instanceof Killed)) throw error
}

function ignoreRefusal(error: { code?: string }): void {
  if (error.code !== 'MR_NO_CANARY') throw error as Error
}
