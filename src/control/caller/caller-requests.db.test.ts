import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { pinnedVersions } from '../retirement/retirement-store.ts'
import { useFacts } from '../retirement/use-facts.ts'
import { holders } from '../retirement/holders.ts'
import { keyDigest, routedCallers } from './caller.ts'
import {
  addCaller,
  endExpiredPins,
  pinCaller,
  recordCallers,
  revokeCaller,
  rotateKey,
  unpinCaller,
  type NewCaller,
} from './caller-requests.ts'
import { findCaller, listCallers, listPins } from './caller-store.ts'

const DAY_MS = 86_400_000

describeEachStore('callers', (open: () => Promise<Store>) => {
  let store: Store
  let lab: ControlLab
  let clock: FakeClock
  let drawn: number
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    clock = fakeClock()
    lab = await controlLab(store, clock)
    await lab.apply({ m: { train: 'true' } })
    drawn = 0
  })
  afterEach(() => lab.close())

  const random = () => new Uint8Array(32).fill(++drawn)
  const add = (name: string, rest: Partial<NewCaller> = {}) =>
    store.transaction((tx) =>
      addCaller(tx, clock, { name, endpoints: null, commonNames: [], concurrency: null, by: 'ann', ...rest }, random()),
    )
  const rotate = (name: string, keepMs: number) =>
    store.transaction((tx) => rotateKey(tx, clock, { name, keepMs, by: 'ann' }, random()))
  const revoke = (name: string) =>
    store.transaction((tx) => revokeCaller(tx, clock, { name, why: 'it leaked', by: 'ann' }))
  const pin = (caller: string, versionId: string, forMs = 30 * DAY_MS) =>
    store.transaction((tx) => pinCaller(tx, clock, { caller, endpoint: 'm', versionId, forMs, why: null, by: 'ann' }))
  const digestsOf = async (name: string) =>
    routedCallers(await listCallers(store.db), clock.epochMs()).find((caller) => caller.name === name)?.keyDigests ??
    null
  const events = async (entity: string) =>
    (await store.db.selectFrom('event').selectAll().where('entity', '=', entity).orderBy('id').execute()).map(
      (e) => `${e.entity_id}: ${e.from_status ?? ''} → ${e.to_status}`,
    )

  it('are known by a key that nothing but its digest is kept of', async () => {
    const key = await add('site', { endpoints: ['m'], commonNames: ['site.example'], concurrency: 7 })
    expect(await findCaller(store.db, 'site')).toMatchObject({
      endpoints: ['m'],
      commonNames: ['site.example'],
      concurrency: 7,
      keys: [{ digest: keyDigest(key!), endsAtMs: null }],
      revoked: null,
      lastCalendarMs: null,
    })
    const { rows } = await store.db.executeQuery<Record<string, unknown>>(
      store.db.selectFrom('caller_key').selectAll().compile(),
    )
    expect(JSON.stringify(rows)).not.toContain(key!.slice(20))
    expect(JSON.stringify(await store.db.selectFrom('event').selectAll().execute())).not.toContain(key!.slice(20))
  })

  it('have one name each, and one owner for each common name', async () => {
    await add('site', { commonNames: ['site.example'] })
    await expect(add('site')).rejects.toMatchObject({ code: 'MR_CALLER_EXISTS' })
    await expect(add('anonymous')).rejects.toMatchObject({ code: 'MR_CALLER_NAME' })
    await expect(add('other', { commonNames: ['site.example'] })).rejects.toMatchObject({
      code: 'MR_COMMON_NAME_TAKEN',
    })
    await revoke('site')
    // The name of a revoked one stands in the log: nobody else gets it. Its certificate may be somebody's again.
    await expect(add('site')).rejects.toMatchObject({ code: 'MR_CALLER_EXISTS' })
    await add('other', { commonNames: ['site.example'] })
    expect(await digestsOf('other')).toHaveLength(1)
  })

  it('get a new key while the one before still works, until its end', async () => {
    const first = await add('site')
    const { key: second, endsAtMs } = await rotate('site', DAY_MS)
    expect(endsAtMs).toBe(clock.epochMs() + DAY_MS)
    expect(await digestsOf('site')).toEqual([keyDigest(first!), keyDigest(second)].toSorted())
    clock.advance(DAY_MS)
    expect(await digestsOf('site')).toEqual([keyDigest(second)])
    const { key: third } = await rotate('site', 0)
    expect(await digestsOf('site')).toEqual([keyDigest(third)])
  })

  it('never get more time for an old key by another rotation, nor more than five keys that work', async () => {
    await add('site')
    await rotate('site', 10)
    await rotate('site', 1_000)
    const ends = (await findCaller(store.db, 'site'))!.keys.map((key) => (key.endsAtMs ?? Infinity) - clock.epochMs())
    expect(ends.toSorted((a, b) => a - b)).toEqual([10, 1_000, Infinity])
    await rotate('site', 1_000)
    await rotate('site', 1_000)
    await expect(rotate('site', 1_000)).rejects.toMatchObject({ code: 'MR_CALLER_KEYS_MAX' })
    await rotate('site', 0)
    expect(await digestsOf('site')).toHaveLength(1)
  })

  it('are nobody any more once they are revoked', async () => {
    await add('site')
    await lab.version('m')
    await pin('site', 'm@1')
    await revoke('site')
    expect(await digestsOf('site')).toBe(null)
    expect(await store.db.selectFrom('caller_key').selectAll().execute()).toEqual([])
    expect(await listPins(store.db)).toEqual([])
    await expect(rotate('site', 0)).rejects.toMatchObject({ code: 'MR_CALLER_REVOKED' })
    await expect(pin('site', 'm@1')).rejects.toMatchObject({ code: 'MR_CALLER_REVOKED' })
    await expect(revoke('nobody')).rejects.toMatchObject({ code: 'MR_CALLER_UNKNOWN' })
    expect(await events('caller')).toEqual(['site:  → known', 'site: known → known', 'site: known → revoked'])
  })

  it('are pinned for a while, which is renewed by asking again', async () => {
    await add('site')
    await lab.version('m')
    await lab.version('m')
    await pin('site', 'm@1')
    clock.advance(20 * DAY_MS)
    await pin('site', 'm@1')
    expect(await listPins(store.db)).toMatchObject([
      { caller: 'site', endpoint: 'm', versionId: 'm@1', expiresAtMs: clock.epochMs() + 30 * DAY_MS },
    ])
    clock.advance(29 * DAY_MS)
    expect(await store.transaction((tx) => endExpiredPins(tx, clock))).toBe(0)
    await pin('site', 'm@2')
    clock.advance(30 * DAY_MS)
    expect(await store.transaction((tx) => endExpiredPins(tx, clock))).toBe(1)
    expect(await listPins(store.db)).toEqual([])
    expect(await events('pin')).toEqual([
      'site/m:  → m@1',
      'site/m: m@1 → m@1',
      'site/m: m@1 → m@2',
      'site/m: m@2 → none',
    ])
  })

  it('are pinned only where they may call, and let go by hand', async () => {
    await add('site', { endpoints: ['elsewhere'] })
    await add('free')
    await lab.version('m')
    await expect(pin('site', 'm@1')).rejects.toMatchObject({ code: 'MR_CALLER_NOT_ALLOWED' })
    await expect(pin('nobody', 'm@1')).rejects.toMatchObject({ code: 'MR_CALLER_UNKNOWN' })
    await pin('free', 'm@1')
    const unpin = () => store.transaction((tx) => unpinCaller(tx, clock, { caller: 'free', endpoint: 'm', by: 'ann' }))
    await unpin()
    await expect(unpin()).rejects.toMatchObject({ code: 'MR_NOT_PINNED' })
  })

  it('hold the version that they are pinned to', async () => {
    await add('site')
    await lab.version('m')
    await pin('site', 'm@1', DAY_MS)
    const outside = { models: lab.context.project()!.project.models, inFlight: new Map(), readers: new Map() }
    const facts = (await useFacts(store.db, 'm', outside)).get('m@1')!
    expect(holders(facts, clock.calendarMs(), 0)).toContain('site is pinned to it on m until 2001-01-02T00:00Z')
    expect(await pinnedVersions(store.db, outside.models, clock.calendarMs())).toEqual(new Set(['m@1']))
  })

  it('are counted with their last request, whatever the calendar does', async () => {
    await add('site')
    const record = (requests: number) =>
      store.transaction((tx) =>
        recordCallers(tx, clock, [
          { caller: 'site', requests },
          { caller: 'unknown', requests: 3 },
        ]),
      )
    await record(0)
    expect(await findCaller(store.db, 'site')).toMatchObject({ requests: 0, lastCalendarMs: null })
    await record(2)
    const lastMs = clock.calendarMs()
    clock.advanceCalendar(-DAY_MS)
    await record(5)
    expect(await findCaller(store.db, 'site')).toMatchObject({ requests: 7, lastCalendarMs: lastMs })
  })
})
