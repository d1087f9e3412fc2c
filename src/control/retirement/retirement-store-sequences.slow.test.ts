import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { decidedVersion, flip, promote, readyRelease } from '../../testing/flip-lab.ts'
import { seededRandom } from '../../testing/retirement-world.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { setAlias } from '../registry/version-requests.ts'
import { endFreeze } from '../release/freeze-requests.ts'
import { deploymentHolders, openDeployments, openReleases, routeOf } from '../release/release-store.ts'
import { requestRollback } from '../release/rollback-requests.ts'
import { recordPins } from './pin-requests.ts'
import { retireByHand } from './retirement-acts.ts'
import { RetirementController } from './retirement-controller.ts'
import { keepVersion, reviveVersion } from './retirement-requests.ts'
import { listRetirements, pinnedVersions } from './retirement-store.ts'

/** Each takes about half a second: MILLRACE_TEST_STORE_SEQUENCES=300 for more. */
const SEQUENCES = Number(process.env['MILLRACE_TEST_STORE_SEQUENCES'] ?? 40)
const EVENTS = 16
const DAY_MS = 24 * 3_600_000
const out = ['draining', 'stopped', 'cold', 'deleting', 'deleted']

class Crash extends Error {}

/** The same as the pure sequences, through the transactions of the real store and the files of the real disk. */
describeEachStore('sequences through the store, with crashes between any two writes', (open: () => Promise<Store>) => {
  let store: Store
  let lab: ControlLab
  let clock: FakeClock
  beforeAll(async () => {
    store = await open()
    clock = fakeClock()
    lab = await controlLab(store, clock)
  })
  afterAll(async () => {
    lab.close()
    await store.close()
  })

  it(
    `never take away what is in use (${SEQUENCES} sequences)`,
    async () => {
      const reached = new Map<string, number>()
      for (let seed = 1; seed <= SEQUENCES; seed++) {
        const happened: string[] = []
        try {
          await sequence(seed, happened)
        } catch (error) {
          throw new Error(`seed ${seed}, after ${happened.join(', ')}`, { cause: error })
        }
      }
      const events = await store.db.selectFrom('event').select('to_status').where('entity', '=', 'retirement').execute()
      for (const { to_status } of events) reached.set(to_status, (reached.get(to_status) ?? 0) + 1)
      expect(['proposed', 'kept', ...out].filter((status) => !reached.has(status))).toEqual([])
    },
    60 * 60_000,
  )

  async function sequence(seed: number, happened: string[]): Promise<void> {
    const random = seededRandom(seed)
    const model = `m${seed}`
    const keepLast = Math.floor(random() * 2)
    await lab.apply({ [model]: { train: 'true', retirement: { keepLast, deleteAfter: '1d', pin: '2d' } } })
    const crash = { at: Number.POSITIVE_INFINITY }
    const context = { ...lab.context, store: crashing(lab.context.store, crash), artifacts: crashingFiles(crash) }
    const sources = { gateways: () => [], readers: () => new Map<string, string[]>(), unusedForMs: 0 }
    const versions: string[] = []
    const any = () => versions[Math.floor(random() * versions.length)]
    const transact = (work: Parameters<Store['transaction']>[0]) => store.transaction(work).catch(refusal)
    const events: Record<string, (id: string) => Promise<unknown>> = {
      release: (id) => promote(lab, model, id).catch(refusal),
      promote: (id) => promote(lab, model, id).catch(refusal),
      queue: (id) => readyRelease(lab, model, id).catch(refusal),
      async flip() {
        const release = (await openReleases(store.db)).find((r) => r.model === model)
        if (release !== undefined) await flip(lab, release.id)
      },
      async rollback() {
        const asked = { model, endpoint: model, to: null, cause: 'x', by: 'ann' }
        const id = await store.transaction((tx) => requestRollback(tx, clock, asked)).catch(refusal)
        const release = (await openReleases(store.db)).find((r) => r.id === id)
        if (release !== undefined) await flip(lab, await readyRelease(lab, model, release.versionId, 'rollback'))
      },
      unfreeze: () => transact((tx) => endFreeze(tx, clock, { model, by: 'ann', why: 'x' })),
      alias: (id) => transact((tx) => setAlias(tx, clock, { model, alias: 'stable', versionId: id, cause: 'x' })),
      unalias: () => transact((tx) => setAlias(tx, clock, { model, alias: 'stable', versionId: null, cause: 'x' })),
      async pin(id) {
        const deployed = (await openDeployments(store.db)).some((d) => d.versionId === id)
        const pinned = [{ caller: 'desk', requests: 1 }]
        const call = { model, version: id.split('@')[1]!, origin: 'live' as const, requests: 1, pinned }
        if (deployed) await transact((tx) => recordPins(tx, clock, [call]))
      },
      keep: (id) =>
        transact((tx) =>
          keepVersion(tx, clock, {
            versionId: id,
            model,
            why: 'x',
            by: 'ann',
            untilCalendarMs: clock.calendarMs() + DAY_MS,
          }),
        ),
      retire: (id) =>
        transact((tx) =>
          retireByHand(tx, clock, {
            versionId: id,
            model,
            why: 'x',
            by: 'ann',
            outside: new RetirementController(context, sources).outside(),
          }),
        ),
      revive: (id) => transact((tx) => reviveVersion(tx, clock, { versionId: id, why: 'x', by: 'ann' })),
      tidy: () => tidy(model),
      passTime: () => Promise.resolve(clock.advanceCalendar(Math.floor(random() * 3) * DAY_MS)),
      turnBack: () => Promise.resolve(clock.advanceCalendar(-DAY_MS)),
      async look() {
        crash.at = random() < 0.4 ? Math.floor(random() * 6) : Number.POSITIVE_INFINITY
        await new RetirementController(context, sources).look().catch((error: unknown) => {
          if (!(error instanceof Crash)) throw error
        })
        crash.at = Number.POSITIVE_INFINITY
      },
    }
    const often = [
      'look',
      'look',
      'look',
      'look',
      'look',
      'look',
      'look',
      'tidy',
      'tidy',
      'passTime',
      'passTime',
      'release',
    ]
    const names = [...Object.keys(events), ...often]
    for (let i = 0; i < 4; i++) {
      // Few contents, so that files are shared.
      versions.push(await decidedVersion(lab, model, { content: `${model} ${Math.floor(random() * 3)}` }))
      if (random() < 0.6) await promote(lab, model, versions.at(-1)!)
    }
    for (let i = 0; i < EVENTS; i++) {
      clock.advance(10)
      const name = names[Math.floor(random() * names.length)]!
      happened.push(name)
      await events[name]!(any()!)
      await check(model)
    }
  }

  /** As the deployment controller leaves what nobody holds. */
  async function tidy(model: string): Promise<void> {
    const mine = (await openDeployments(store.db)).filter((d) => d.model === model)
    const pinned = await pinnedVersions(store.db, lab.context.project()!.project.models, clock.calendarMs())
    const holders = await deploymentHolders(store.db, mine, [], pinned)
    const free = mine.filter((d) => !holders.has(d.id)).map((d) => d.id)
    await store.db
      .updateTable('deployment')
      .set({ status: 'stopped' })
      .where('id', 'in', [...free, ''])
      .execute()
  }

  /** Asks the rows, not the guard. */
  async function check(model: string): Promise<void> {
    const retirements = new Map((await listRetirements(store.db, { model })).map((r) => [r.versionId, r.status]))
    const isOut = (id: string) => out.includes(retirements.get(id) ?? 'kept')
    const troubles: string[] = []
    const named = await store.db.selectFrom('alias').selectAll().where('model', '=', model).execute()
    for (const { alias, version_id } of named) if (isOut(version_id)) troubles.push(`alias ${alias} of ${version_id}`)
    for (const r of await openReleases(store.db))
      if (r.model === model && isOut(r.versionId)) troubles.push(`${r.id} of ${r.versionId}`)
    for (const { deploymentId } of (await routeOf(store.db, model))?.members ?? []) {
      const member = await store.db
        .selectFrom('deployment')
        .select(['version_id', 'status'])
        .where('id', '=', deploymentId)
        .executeTakeFirstOrThrow()
      if (member.status !== 'ready' || isOut(member.version_id)) troubles.push(`${deploymentId} is in the route`)
    }
    const versions = await store.db
      .selectFrom('version')
      .select(['id', 'model_digest'])
      .where('model', '=', model)
      .execute()
    for (const { id, model_digest } of versions) {
      const isGone = ['deleting', 'deleted'].includes(retirements.get(id) ?? 'kept')
      if (!isGone && !(await lab.context.artifacts.has(model_digest))) troubles.push(`the file of ${id} is gone`)
    }
    expect(troubles).toEqual([])
  }

  /** Throws at the write of that number: before it, or after it was done. */
  function crashing(real: Store, crash: { at: number }): Store {
    return {
      ...real,
      async transaction(work) {
        const point = crash.at--
        if (point === 0) throw new Crash('before a transaction')
        const result = await real.transaction(work)
        if (point === 1) throw new Crash('after a transaction')
        return result
      },
    }
  }

  function crashingFiles(crash: { at: number }): Artifacts {
    return new Proxy(lab.context.artifacts, {
      get(files, name) {
        const value: unknown = Reflect.get(files, name)
        if (name !== 'remove') return typeof value === 'function' ? value.bind(files) : value
        return async (...of: Parameters<Artifacts['remove']>) => {
          const point = crash.at--
          if (point === 0) throw new Crash('before a file was removed')
          const result = await files.remove(...of)
          if (point === 1) throw new Crash('after a file was removed')
          return result
        }
      },
    })
  }
})

/** What is refused for a reason is no trouble. */
function refusal(error: unknown): null {
  if (typeof (error as { code?: unknown }).code === 'string' && (error as { code: string }).code.startsWith('MR_'))
    return null
  throw error
}
