import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { snapshotOf } from '../../testing/gateway-fakes.ts'
import { loadRoutes, saveRoutes } from './routes-file.ts'
import { RouteKeeper } from './route-keeper.ts'
import { parseSnapshot } from './routing-snapshot.ts'

let dir = ''
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'millrace-routes-'))))
afterEach(() => rm(dir, { recursive: true, force: true }))

describe('routes on disk', () => {
  it('come back as they were saved, and leave no draft behind', async () => {
    const path = join(dir, 'gateway', 'routes.json')
    await saveRoutes(path, snapshotOf(1))
    await saveRoutes(path, snapshotOf(2))
    expect(await loadRoutes(path)).toEqual(snapshotOf(2))
    expect(await readdir(join(dir, 'gateway'))).toEqual(['routes.json'])
  })

  it('are none before the first', async () => {
    expect(await loadRoutes(join(dir, 'routes.json'))).toBeNull()
  })

  it('are refused when the file was cut', async () => {
    const path = join(dir, 'routes.json')
    await writeFile(path, JSON.stringify(snapshotOf(1)).slice(0, 100))
    await expect(loadRoutes(path)).rejects.toThrow(/routes\.json can't be used: it is not JSON/)
  })
})

describe('a snapshot from outside', () => {
  const broken = (change: (endpoint: Record<string, unknown>) => void): string => {
    const snapshot = structuredClone(snapshotOf(1))
    change(snapshot.endpoints[0] as unknown as Record<string, unknown>)
    return JSON.stringify(snapshot)
  }

  it.each([
    ['[]', 'it is not an object'],
    ['{"epoch":-1,"revision":1,"endpoints":[]}', "'epoch' and 'revision'"],
    ['{"epoch":1,"revision":1}', "'endpoints' must be a list"],
    [broken((e) => delete e['endpoint']), "'endpoints[0].endpoint' must be text"],
    [broken((e) => (e['timeoutMs'] = 'long')), "'endpoints[0].timeoutMs' must be a number"],
    [broken((e) => (e['members'] = [{ deploymentId: 'x', weightPercent: 100 }])), 'unknown deployment'],
    [broken((e) => (e['members'] = [{ deploymentId: 'deployment-1', weightPercent: 101 }])), 'outside 0–100'],
    [broken((e) => (e['trial'] = 7)), "'endpoints[0].trial' must be text or null"],
    [broken((e) => (e['trial'] = '')), "'endpoints[0].trial' must be text or null"],
    [broken((e) => (e['mirrors'] = {})), "'endpoints[0].mirrors' must be a list"],
    [broken((e) => (e['mirrors'] = [{ deploymentId: 'x', sharePercent: 101 }])), 'share outside 0–100'],
    [broken((e) => (e['disabled'] = true)), "'endpoints[0].disabled' must be an object or null"],
    [broken((e) => (e['disabled'] = {})), "'endpoints[0].disabled.why' must be text"],
    [broken((e) => (e['fallback'] = { kind: 'shrug' })), 'must be error, constant or version'],
    [broken((e) => (e['fallback'] = { kind: 'version' })), "'endpoints[0].fallback.deploymentId' must be text"],
    [broken((e) => (e['fallback'] = { kind: 'constant', outputs: { y: [1] } })), "'endpoints[0].fallback.outputs'"],
    [broken((e) => (e['deployments'] = [{ deploymentId: 'd', version: '1' }])), 'signature'],
  ])('is refused with the field: %s', (text, why) => {
    expect(() => parseSnapshot(text, 'a test')).toThrow(why)
  })
})

describe('a snapshot of a release before there were trials', () => {
  it('has none, and an error for its fallback', () => {
    const snapshot = structuredClone(snapshotOf(1))
    const endpoint = snapshot.endpoints[0] as unknown as Record<string, unknown>
    for (const name of ['trial', 'mirrors', 'disabled', 'fallback']) delete endpoint[name]
    expect(parseSnapshot(JSON.stringify(snapshot), 'a test')).toEqual(snapshotOf(1))
  })
})

describe('the keeper of routes', () => {
  it('acknowledges a snapshot only after it is on disk, and only the last of several', async () => {
    const path = join(dir, 'routes.json')
    const kept: { revision: number; onDisk: number }[] = []
    const tables: number[] = []
    const keeper: RouteKeeper = new RouteKeeper({
      path,
      onTable: (table) => tables.push(table.snapshot.revision),
      onKept: () =>
        kept.push({ revision: keeper.kept.revision, onDisk: parseSnapshot(readFileSync(path, 'utf8'), path).revision }),
      tell: () => undefined,
    })
    for (const revision of [1, 2, 3]) keeper.offer(snapshotOf(revision))
    expect(keeper.table.snapshot.revision).toBe(3)
    expect(keeper.kept.revision).toBe(0)
    keeper.offer(snapshotOf(2))
    await keeper.settled()
    expect(tables).toEqual([1, 2, 3])
    expect(keeper.kept.revision).toBe(3)
    expect(kept.at(-1)).toEqual({ revision: 3, onDisk: 3 })
    expect(kept.filter(({ revision, onDisk }) => onDisk < revision)).toEqual([])
    expect((await loadRoutes(path))?.revision).toBe(3)
  })

  it('uses and acknowledges routes that cannot be saved, and says so', async () => {
    await writeFile(join(dir, 'file'), '')
    const told: string[] = []
    const parts = {
      onTable: () => undefined,
      onKept: () => undefined,
      tell: (_: string, what: string) => void told.push(what),
    }
    const keeper = new RouteKeeper({ ...parts, path: join(dir, 'file', 'routes.json') })
    keeper.offer(snapshotOf(1))
    await keeper.settled()
    expect(keeper.kept.revision).toBe(1)
    expect(told).toContain('the routes could not be saved')
  })

  it('starts without routes when the file is damaged, and says so', async () => {
    const path = join(dir, 'routes.json')
    await writeFile(path, '{')
    const told: string[] = []
    const keeper = new RouteKeeper({
      path,
      onTable: () => undefined,
      onKept: () => undefined,
      tell: (_, what) => void told.push(what),
    })
    await keeper.load()
    expect(keeper.hasRoutes).toBe(false)
    expect(told).toEqual(['the routes on disk cannot be used'])
  })
})
