import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'
import type { Store } from '../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../testing/fake-clock.ts'
import { decidedVersion } from '../../testing/flip-lab.ts'
import { describeEachStore } from '../../testing/test-store.ts'
import { modelFiles } from '../registry/model-files.ts'
import { ArtifactCollector, COLLECTOR_LIMITS } from './artifact-collector.ts'
import { SWEEP_LIMITS } from './housekeeping.ts'
import { ROOT_COLUMNS } from './live-artifacts.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

describeEachStore('artifacts that nothing is made of', (open: () => Promise<Store>) => {
  let store: Store
  let lab: ControlLab
  let clock: FakeClock
  let artifacts: Artifacts
  let collector: ArtifactCollector
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    clock = fakeClock()
    lab = await controlLab(store, clock)
    await lab.apply({ m: { train: 'true' } })
    artifacts = lab.context.artifacts
    collector = newCollector()
  })
  afterEach(() => lab.close())

  const newCollector = (context = lab.context) => new ArtifactCollector(context, SWEEP_LIMITS)
  const put = async (text: string) => (await artifacts.putBytes(Buffer.from(text))).digest
  const folder = async (name: string, files: Record<string, string>) => {
    for (const [file, text] of Object.entries(files)) lab.write(`${name}/${file}`, text)
    return (await artifacts.putDir(join(lab.root, name), { ignore: [] })).digest
  }
  const pathOf = (digest: string) => {
    const hex = digest.slice('sha256:'.length)
    return join(lab.dataDir, 'artifacts', 'sha256', hex.slice(0, 2), hex)
  }
  /** As if everything had been put that long ago. */
  async function age(ms: number): Promise<void> {
    const then = new Date(Date.now() - ms)
    for await (const { digest } of artifacts.list()) utimesSync(pathOf(digest), then, then)
  }
  /** A whole pass: the clock of a lab stands still while one looks. */
  async function pass(of = collector): Promise<void> {
    clock.advance(HOUR_MS)
    expect(await of.look()).toBeUndefined()
  }
  const there = async (digests: Record<string, string>) => {
    const found = await Promise.all(Object.entries(digests).map(async ([name, d]) => [name, await artifacts.has(d)]))
    return Object.entries(Object.fromEntries(found) as Record<string, boolean>)
      .filter(([, isThere]) => isThere)
      .map(([name]) => name)
  }
  const ended = (run: string, status: 'failed' | 'succeeded') =>
    store.db.updateTable('run').set({ status }).where('id', '=', run).execute()
  const retired = (versionId: string, status: string) =>
    store.db
      .insertInto('retirement')
      .values({
        version_id: versionId,
        model: 'm',
        status,
        policy: 'person',
        why: 'test',
        held_by: '[]',
        proposed_at_ms: 0,
        status_at_ms: 0,
        status_calendar_ms: 0,
        by: 'test',
      })
      .execute()
  async function evaluated(version: string, losses: string, holdout: string): Promise<void> {
    const row = { version_id: version, status: 'done', attempts: 1, created_at_ms: 0 }
    await store.db
      .insertInto('evaluation')
      .values({ ...row, losses_digest: losses, holdout_digest: holdout })
      .execute()
  }
  const modelOf = async (version: string) =>
    (await store.db.selectFrom('version').select('model_digest').where('id', '=', version).executeTakeFirstOrThrow())
      .model_digest

  it('go once two passes have found it so a day after they were put', async () => {
    const left = await put('left over')
    await pass()
    await pass()
    expect(await artifacts.has(left)).toBe(true)
    await age(23 * HOUR_MS)
    await pass()
    expect(await artifacts.has(left)).toBe(true)
    await age(DAY_MS)
    await pass(newCollector())
    expect(await artifacts.has(left)).toBe(true)
    await pass()
    expect(await artifacts.has(left)).toBe(false)
    expect((await collector.view()).removed).toEqual({ files: 1, sizeBytes: 'left over'.length })
  })

  it('are not looked for more often than once an hour', async () => {
    const left = await put('left over')
    await age(2 * DAY_MS)
    await pass()
    clock.advance(HOUR_MS - 1)
    await collector.look()
    expect(await artifacts.has(left)).toBe(true)
    clock.advance(1)
    await collector.look()
    expect(await artifacts.has(left)).toBe(false)
  })

  it('are the code, output and inputs of a failed run once its folder would go too, and none before', async () => {
    lab.write('train.py', 'fit()')
    const query = await put('rows of a query')
    const output = await folder('out', { 'metrics.json': '{}' })
    const file = await put('{}')
    rmSync(join(lab.root, 'out'), { recursive: true }) // it is no code
    const run = await lab.train('m')
    const code = (await store.db.selectFrom('run').select('code_digest').executeTakeFirstOrThrow()).code_digest!
    await store.db.updateTable('step').set({ output_digest: output }).where('run_id', '=', run).execute()
    await store.db
      .insertInto('attempt')
      .values({
        run_id: run,
        step: 'train',
        number: 1,
        token: 't',
        status: 'failed',
        dir: '/x',
        inputs: JSON.stringify([{ name: 'q', kind: 'sql', digest: query }]),
        started_at_ms: 0,
      })
      .execute()
    const all = { code, output, file, query, script: (await artifacts.putBytes(Buffer.from('fit()'))).digest }
    await age(2 * DAY_MS)
    await pass()
    await pass()
    expect(await there(all)).toEqual(['code', 'output', 'file', 'query', 'script'])
    await ended(run, 'failed')
    // The last five that failed keep theirs, however old.
    clock.advanceCalendar(60 * DAY_MS)
    await pass()
    await pass()
    expect(await there(all)).toEqual(['code', 'output', 'file', 'query', 'script'])
    lab.write('train.py', 'fit(again)')
    for (let i = 0; i < 5; i++) await ended(await lab.train('m'), 'failed')
    await age(2 * DAY_MS)
    await pass()
    await pass()
    expect(await there(all)).toEqual([])
  })

  it('are the code, the losses and the rows of a deleted version, but not those of the others', async () => {
    const [kept, gone] = [await folder('new', { a: 'both', b: 'new' }), await folder('old', { a: 'both', b: 'old' })]
    const older = await decidedVersion(lab, 'm', { codeDigest: gone })
    const newer = await decidedVersion(lab, 'm', { codeDigest: kept })
    const shared = await put('the same holdout')
    await evaluated(older, await put('losses of the old'), shared)
    await evaluated(newer, await put('losses of the new'), shared)
    const old = {
      code: gone,
      file: await put('old'),
      losses: await put('losses of the old'),
      model: await modelOf(older),
    }
    const held = {
      code: kept,
      both: await put('both'),
      file: await put('new'),
      losses: await put('losses of the new'),
      shared,
      model: await modelOf(newer),
    }
    await age(2 * DAY_MS)
    for (const status of ['cold', 'deleted']) {
      if (status === 'cold') await retired(older, status)
      else await store.db.updateTable('retirement').set({ status }).execute()
      await pass()
      await pass()
      expect(await there(old)).toEqual(status === 'cold' ? ['code', 'file', 'losses', 'model'] : [])
      expect(await there(held)).toEqual(Object.keys(held))
    }
  })

  it('are not what was put again since the pass before, or was renewed to be recorded', async () => {
    const [again, renewed, left] = [await put('again'), await folder('tree', { a: 'inner' }), await put('left')]
    await age(2 * DAY_MS)
    await pass()
    await put('again')
    await artifacts.renew(renewed)
    await pass()
    expect(await there({ again, renewed, inner: await put('inner'), left })).toEqual(['again', 'renewed', 'inner'])
  })

  it('are not what was recorded between two passes, nor between the mark and the sweep of one', async () => {
    const [before, between] = [await put('a model'), await put('another')]
    await age(2 * DAY_MS)
    await pass()
    const record = (content: string) => decidedVersion(lab, 'm', { content })
    await record('a model')
    await age(2 * DAY_MS)
    // Rows were read; then somebody puts and records what was unused in both passes.
    const slow: Artifacts = new Proxy(artifacts, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (name !== 'list') return typeof value === 'function' ? value.bind(target) : value
        return async function* () {
          await record('another')
          yield* target.list()
        }
      },
    })
    const late = new ArtifactCollector({ ...lab.context, artifacts: slow }, SWEEP_LIMITS)
    await pass(late)
    await age(2 * DAY_MS)
    expect(await there({ before, between })).toEqual(['before', 'between'])
    await pass(late)
    expect(await there({ before, between })).toEqual(['before', 'between'])
  })

  it('go in the end however often a pass is cut off, and nothing else does', async () => {
    const version = await decidedVersion(lab, 'm', { codeDigest: await folder('code', { 'a.py': 'a', 'b.py': 'b' }) })
    const held = { model: await modelOf(version), a: await put('a'), b: await put('b') }
    const left = await Promise.all(Array.from({ length: 6 }, (_, i) => put(`left ${i}`)))
    await age(2 * DAY_MS)
    const crashing = (afterRemovals: number): Artifacts =>
      new Proxy(artifacts, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name)
          if (name !== 'remove') return typeof value === 'function' ? value.bind(target) : value
          return async (...of: Parameters<Artifacts['remove']>) => {
            if (afterRemovals-- === 0) throw new Error('killed')
            return target.remove(...of)
          }
        },
      })
    for (let i = 0; i < 3; i++) {
      const killed = newCollector({ ...lab.context, artifacts: crashing(i) })
      await pass(killed)
      clock.advance(HOUR_MS)
      await expect(killed.look()).rejects.toThrow('killed')
      expect(await there(held)).toEqual(['model', 'a', 'b'])
    }
    const gone = (await Promise.all(left.map((digest) => artifacts.has(digest)))).filter((has) => !has)
    expect(gone).toHaveLength(3)
    await pass()
    await pass()
    expect(await Promise.all(left.map((digest) => artifacts.has(digest)))).toEqual(left.map(() => false))
    expect(await there(held)).toEqual(['model', 'a', 'b'])
  })

  it('are left alone, and it is said why, where a directory’s list is damaged', async () => {
    const code = await folder('code', { 'a.py': 'a' })
    await decidedVersion(lab, 'm', { codeDigest: code })
    const left = await put('left')
    await age(2 * DAY_MS)
    await pass()
    const list = readFileSync(pathOf(code))
    damage(code)
    clock.advance(HOUR_MS)
    await expect(collector.look()).rejects.toMatchObject({ code: 'MR_ARTIFACT_CORRUPT' })
    expect(await there({ left, a: await put('a') })).toEqual(['left', 'a'])
    expect(await collector.view()).toMatchObject({
      kept: [],
      unused: { files: 0 },
      refused: expect.stringContaining(code),
    })
    await artifacts.putBytes(list)
    await age(2 * DAY_MS)
    await pass()
    await pass()
    expect(await there({ left, a: await put('a') })).toEqual(['a'])
    expect(await collector.view()).toMatchObject({ refused: null })
  })

  it('are left alone where the database is another one', async () => {
    const left = await put('left')
    await age(2 * DAY_MS)
    await pass()
    await sql`delete from setting where key = 'artifactsOwner'`.execute(store.db)
    await pass()
    await pass()
    expect(await artifacts.has(left)).toBe(true)
    expect(await collector.view()).toMatchObject({
      refused: expect.stringMatching(/another database.*artifacts\/store/),
    })
  })

  it('are listed with their sizes and when they go, and nothing is removed by asking', async () => {
    await decidedVersion(lab, 'm', { content: 'model', codeDigest: await folder('code', { 'a.py': 'print(1)' }) })
    const [large, small] = [await put('x'.repeat(100)), await put('y')]
    await age(23 * HOUR_MS)
    await put('y')
    const [view, same] = await Promise.all([collector.view(), collector.view()])
    expect(same).toBe(view)
    expect(view.kept.map(({ use, files }) => [use, files])).toEqual([
      ['code', 2],
      ['model', 1],
    ])
    expect(view.unused).toEqual({ files: 2, sizeBytes: 101 })
    expect(view.largest.map(({ digest }) => digest)).toEqual([large, small])
    expect(view.largest[0]!.removableInMs).toBeLessThanOrEqual(HOUR_MS)
    expect(view.largest[1]!.removableInMs).toBeGreaterThan(23 * HOUR_MS)
    expect(view).toMatchObject({ removed: { files: 0 }, lastPassAgoMs: null, refused: null })
    expect(await there({ large, small })).toEqual(['large', 'small'])
  })

  it('take the folder with them that a model in several files was laid out in', async () => {
    const [gone, kept] = [await folder('gone', { 'model.onnx': '1' }), await folder('kept', { 'model.onnx': '2' })]
    const paths = await Promise.all([gone, kept].map((digest) => modelFiles(lab.context, digest)))
    const version = await decidedVersion(lab, 'm')
    await store.db.updateTable('version').set({ model_digest: kept }).where('id', '=', version).execute()
    const half = join(lab.dataDir, 'models', 'abc.building-1-2')
    mkdirSync(half)
    await age(2 * DAY_MS)
    await pass()
    await pass()
    expect(paths.map(({ path }) => existsSync(path))).toEqual([false, true])
    expect(existsSync(half)).toBe(true)
    utimesSync(half, 1, 1)
    await pass()
    expect(readdirSync(join(lab.dataDir, 'models'))).toEqual([kept.slice('sha256:'.length)])
  })

  it('are removed a part at a time, where there are many', async () => {
    for (let i = 0; i < 5; i++) await put(`left ${i}`)
    await age(2 * DAY_MS)
    const slow = new ArtifactCollector(lab.context, SWEEP_LIMITS, {
      ...COLLECTOR_LIMITS,
      removalsMax: 2,
      suspectsMax: 3,
    })
    const left: number[] = []
    for (let i = 0; i < 4; i++) {
      await pass(slow)
      left.push((await Array.fromAsync(artifacts.list())).length)
    }
    expect(left).toEqual([5, 3, 1, 0])
  })

  it('are known by every column that names an artifact', async () => {
    const { rows } = await sql<{ name: string }>`
      select table_name || '.' || column_name as name from information_schema.columns
      where table_schema = 'public' and column_name like '%digest%'`.execute(store.db)
    const nameNoArtifact = ['caller_key.digest', 'freeze.code_digest', 'freeze.config_digest', 'revision.digest']
    expect(rows.map(({ name }) => name).toSorted()).toEqual([...ROOT_COLUMNS, ...nameNoArtifact].toSorted())
  })

  function damage(digest: string): void {
    const path = pathOf(digest)
    const bytes = readFileSync(path)
    chmodSync(path, 0o644)
    writeFileSync(path, bytes.toString().replace('{"kind"', '!"kind"'))
  }
})
