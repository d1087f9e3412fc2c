import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Store } from '../../kernel/store/store.ts'
import { projectOf } from '../../testing/control-builders.ts'
import { emptyStore } from '../../testing/control-lab.ts'
import { fakeClock } from '../../testing/fake-clock.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { applyProject, latestRevision, listRevisions, pausedModels } from './revision-store.ts'

describeEachStore('applying a configuration', (open: () => Promise<Store>) => {
  let store: Store
  beforeAll(async () => {
    store = await open()
  })
  beforeEach(() => emptyStore(store))
  afterAll(() => store.close())

  const apply = (models: string[], port = 8_700) =>
    applyProject(store, fakeClock(), {
      project: projectOf('/p', Object.fromEntries(models.map((name) => [name, { train: 'true' }])), {
        gateway: { port },
      }),
      source: 'text',
      sourcePath: '/p/millrace.yaml',
      by: 'ann',
    })

  it('makes a revision once, however often it is applied', async () => {
    const first = await apply(['a'])
    const again = await apply(['a'])
    expect([first.changes, again.changes]).toEqual([['model a is new'], []])
    expect(again.revision).toEqual(first.revision)
    expect(await listRevisions(store.db, 10)).toHaveLength(1)
  })

  it('by two at the same time makes one revision', async () => {
    const both = await Promise.all([apply(['a']), apply(['a'])])
    expect(new Set(both.map((b) => b.revision.revision)).size).toBe(1)
    expect(await listRevisions(store.db, 10)).toHaveLength(1)
  })

  it('by two with different ones at the same time makes two, the newest whole', async () => {
    await Promise.all([apply(['a']), apply(['a', 'b'])])
    const latest = (await latestRevision(store.db))!
    expect(await listRevisions(store.db, 10)).toHaveLength(2)
    const active = await store.db
      .selectFrom('model')
      .select('name')
      .where('status', '=', 'active')
      .orderBy('name')
      .execute()
    expect(active.map((m) => m.name)).toEqual(latest.project.models.map((m) => m.name))
  })

  it('pauses what left it, with what was last declared, and takes it up again', async () => {
    await apply(['a', 'b'], 8_701)
    await apply(['a'])
    await apply(['a'], 8_702)
    expect((await pausedModels(store.db)).map((m) => m.name)).toEqual(['b'])
    await apply(['a', 'b'])
    expect(await pausedModels(store.db)).toEqual([])
  })

  it('goes back to an earlier one as a new revision', async () => {
    for (const models of [['a'], ['b'], ['a']]) await apply(models)
    expect((await listRevisions(store.db, 10)).map((r) => r.project.models[0]!.name)).toEqual(['a', 'b', 'a'])
  })
})
