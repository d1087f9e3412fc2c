import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as onnx from '../../testing/onnx-builder.ts'
import { findModels, findVersions } from './model-folder.ts'
import { createModelServer } from './model-server.ts'
import type { ModelServer } from './model-server.ts'
import { FileRepository } from './repository.ts'
import type { SourceOptions } from './repository.ts'

let folder = ''
let models: ModelServer
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mr-repository-'))
  models = createModelServer({ isolate: 'never' })
})
afterEach(async () => {
  await models.close()
  rmSync(folder, { recursive: true })
})

let clock = 1_000
/** Each time with another moment of change. */
function put(model: string, version: string, bytes: Uint8Array): void {
  const path = onnx.writeModel(join(folder, model, version, 'model.onnx'), bytes)
  utimesSync(path, (clock += 1), clock)
}
const linear = (weight: number): Uint8Array => onnx.linearModel({ weights: [weight] })
const repository = (versions = 1, prepare?: SourceOptions['prepare']): FileRepository =>
  new FileRepository({
    prepare,
    models,
    find: () => findModels(folder),
    findOne: (model) => findVersions(folder, model),
    versions,
    features: null,
  })

async function y(model: string, version: string | null = null): Promise<number> {
  const { y } = await models.find(model, version).infer({
    inputs: { x: { datatype: 'FP32', shape: [1, 1], data: Float32Array.of(1) } },
    rows: 1,
    outputs: null,
    deadlineMs: null,
  })
  return (y!.data as Float32Array)[0]!
}

describe('a folder of models', () => {
  it('is read as model and version, the newest first, and what else lies there is passed over', async () => {
    for (const version of ['9', '10', '2']) put('price', version, linear(1))
    put('risk', 'stable', linear(1))
    mkdirSync(join(folder, 'empty', '1'), { recursive: true })
    mkdirSync(join(folder, '.git', '1'), { recursive: true })
    writeFileSync(join(folder, 'README.md'), 'models')
    const found = await findModels(folder)
    expect([...found.keys()]).toEqual(['price', 'risk'])
    expect(found.get('price')!.map(({ version }) => version)).toEqual(['10', '9', '2'])
    expect(found.get('risk')).toMatchObject([{ model: 'risk', version: 'stable' }])
  })

  it('is not left by way of a name', async () => {
    put('price', '1', linear(1))
    for (const name of ['..', '../price', 'price/1', '', '.hidden', 'a\0b', 'nothing'])
      expect(await findVersions(folder, name)).toEqual([])
  })

  it('that is none is told', async () => {
    await expect(findModels(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'MR_SERVE_INPUT' })
  })
})

describe('models that are loaded by wish', () => {
  it('are those of the newest versions', async () => {
    for (const version of ['1', '2', '3']) put('price', version, linear(Number(version)))
    await repository(2).loadAll()
    expect(models.versionsOf('price')).toEqual(['3', '2'])
    expect(await y('price')).toBe(3)
    expect(await y('price', '2')).toBe(2)
  })

  it('are brought to what is on disk: the new before the old goes, and nothing that did not change', async () => {
    put('price', '1', linear(1))
    const files = repository()
    await files.loadAll()
    const before = models.find('price', '1')
    await files.load('price')
    expect(models.find('price', '1')).toBe(before)
    put('price', '1', linear(7))
    await files.load('price')
    expect(await y('price')).toBe(7)
    put('price', '2', linear(2))
    const loading = files.load('price')
    expect(await y('price')).toBe(7)
    await loading
    expect(models.versionsOf('price')).toEqual(['2'])
    expect(await y('price')).toBe(2)
  })

  it('stay as they are when what is on disk can not be loaded, and the reason is said', async () => {
    put('price', '1', linear(1))
    const files = repository()
    await files.loadAll()
    put('price', '2', new Uint8Array(0))
    await expect(files.load('price')).rejects.toMatchObject({
      status: 400,
      message: expect.stringMatching(/^failed to load 'price': .*empty/),
    })
    expect(await y('price')).toBe(1)
    expect(models.isReady).toBe(true)
    expect(files.index(false)).toEqual([
      { name: 'price', version: '1', state: 'READY', reason: '' },
      { name: 'price', version: '2', state: 'UNAVAILABLE', reason: expect.stringContaining('empty') },
    ])
    put('price', '2', linear(2))
    await files.load('price')
    expect(await y('price')).toBe(2)
  })

  it('answer what they have when they are unloaded, and can be loaded again', async () => {
    put('price', '1', onnx.slowModel({ size: 256, repeats: 20, width: 1 }))
    const files = repository()
    await files.loadAll()
    const asked = Array.from({ length: 5 }, () => y('price'))
    const unloading = files.unload('price')
    await Promise.resolve()
    await Promise.all([...asked, unloading])
    expect(() => models.find('price', null)).toThrow(expect.objectContaining({ status: 404 }))
    expect(files.index(false)).toEqual([{ name: 'price', version: '1', state: 'UNAVAILABLE', reason: 'unloaded' }])
    expect(files.index(true)).toEqual([])
    await files.unload('price')
    await files.load('price')
    expect(files.index(true)).toHaveLength(1)
  })

  it('that nobody knows are not found', async () => {
    const files = repository()
    await expect(files.load('price')).rejects.toMatchObject({ status: 404 })
    await expect(files.unload('price')).rejects.toMatchObject({ status: 404 })
  })

  it('follow the files when that is asked for, but for those that a client has unloaded', async () => {
    put('price', '1', linear(1))
    put('risk', '1', linear(5))
    put('rate', '1', linear(6))
    const files = repository()
    await files.loadAll()
    await files.unload('risk')
    put('price', '1', linear(3))
    put('risk', '2', linear(8))
    put('late', '1', linear(4))
    rmSync(join(folder, 'rate'), { recursive: true })
    put('bad', '1', new Uint8Array(0))
    const failed: string[] = []
    await files.refresh((model) => failed.push(model))
    expect(await y('price')).toBe(3)
    expect(await y('late')).toBe(4)
    expect(failed).toEqual(['bad'])
    for (const gone of ['risk', 'rate'])
      expect(() => models.find(gone, null)).toThrow(expect.objectContaining({ status: 404 }))
  })

  it('are loaded one after another, and not without end', async () => {
    put('price', '1', linear(1))
    const files = repository()
    const loads = Array.from({ length: 80 }, () =>
      files.load('price').then(
        () => 'loaded',
        (error) => error.status,
      ),
    )
    const outcomes = await Promise.all(loads)
    expect(outcomes.filter((outcome) => outcome === 'loaded')).toHaveLength(64)
    expect(outcomes.filter((outcome) => outcome === 503)).toHaveLength(16)
    expect(await y('price')).toBe(1)
  })
})

describe('files that are made for models', () => {
  it('stay as long as their version may be started from them again, and no longer', async () => {
    const files = new Set<string>()
    let made = 0
    const prepare = (path: string): ReturnType<NonNullable<SourceOptions['prepare']>> => {
      const name = `file ${(made += 1)}`
      files.add(name)
      return Promise.resolve({ path, discard: () => void files.delete(name) })
    }
    const served = repository(1, prepare)
    put('price', '1', linear(1))
    await served.loadAll()
    put('price', '1', linear(2))
    await served.load('price')
    expect([...files]).toEqual(['file 2'])
    put('price', '1', Buffer.from('no model'))
    await expect(served.load('price')).rejects.toThrow(/failed to load/)
    expect([await y('price'), [...files]]).toEqual([2, ['file 2']])
    put('price', '2', linear(3))
    await served.load('price')
    expect([...files]).toEqual(['file 4'])
    await served.unload('price')
    expect([...files]).toEqual([])
  })
})
