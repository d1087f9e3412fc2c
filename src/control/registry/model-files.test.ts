import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'
import { openFsArtifacts } from '../../kernel/artifacts/fs/fs-artifacts.ts'
import { openModel } from '../../kernel/model/onnx-model.ts'
import * as onnx from '../../testing/onnx-builder.ts'
import { forgetModelFiles, keepModelFile, keepModelFolder, modelFiles, registrationOf } from './model-files.ts'
import { placedTables } from './version-tables.ts'

let dataDir: string
let artifacts: Artifacts
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'mr-files-'))
  artifacts = openFsArtifacts(join(dataDir, 'artifacts'))
  mkdirSync(join(dataDir, 'export', 'layers'), { recursive: true })
})
afterEach(() => rmSync(dataDir, { recursive: true, force: true }))

const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const exported = (model: Uint8Array) => onnx.writeModel(join(dataDir, 'export', 'model.onnx'), model)
const weights = new Uint8Array(Float32Array.of(2, 3).buffer)
const scratch = () => join(dataDir, 'scratch.onnx')
const keep = (model: Uint8Array) => keepModelFile(artifacts, exported(model), scratch())

describe('a model of one file', () => {
  it('is kept as it is, under its own digest', async () => {
    const model = onnx.linearModel({ weights: [1, 2] })
    const kept = await keep(model)
    expect(kept).toEqual({ digest: digestOf(model), sizeBytes: model.length, notes: [] })
    const files = await modelFiles({ artifacts, dataDir }, kept.digest)
    expect(files).toEqual({ path: await artifacts.verifiedPath(kept.digest), digest: kept.digest, externalDigests: {} })
  })

  it('has its ZipMap rewritten, with the digest of the original in what is kept', async () => {
    const model = onnx.zipMapModel([1, 2])
    const { digest, notes } = await keep(model)
    expect(digest).not.toBe(digestOf(model))
    expect(notes).toEqual([expect.stringContaining('served as FP32 [-1, 2]')])
    expect(await registrationOf(artifacts, digest)).toMatchObject({ original: digestOf(model), notes })
    expect(existsSync(scratch())).toBe(false)
    await (await openModel((await modelFiles({ artifacts, dataDir }, digest)).path)).close()
  })

  it('is kept as it is where it is none, for whoever opens it to say what is wrong', async () => {
    const rubbish = new TextEncoder().encode('a model')
    const { digest } = await keep(rubbish)
    expect(digest).toBe(digestOf(rubbish))
    expect(await registrationOf(artifacts, digest)).toEqual({ original: null, notes: [], sizeBytes: 7 })
  })

  it('says once which outputs are not served', async () => {
    const model = onnx.onnxModel({
      nodes: [onnx.node('SequenceConstruct', ['x'], ['parts']), onnx.node('Neg', ['x'], ['y'])],
      inputs: [onnx.tensorValue('x', 'float', ['N', 2])],
      outputs: [onnx.sequenceValue('parts', 'float', null), onnx.tensorValue('y', 'float', ['N', 2])],
    })
    expect((await keep(model)).notes).toEqual(["output 'parts' is a sequence and is not served: only tensors are"])
  })
})

describe('a model with its weights in other files', () => {
  const location = './layers/weights.bin'

  async function kept() {
    writeFileSync(join(dataDir, 'export', location), weights)
    writeFileSync(join(dataDir, 'export', 'notes.txt'), 'not part of it')
    return keep(onnx.externalDataModel(2, location))
  }

  it('is kept with them, laid out once, and loaded by its path', async () => {
    const { digest, sizeBytes } = await kept()
    rmSync(join(dataDir, 'export'), { recursive: true })
    const { entries } = await artifacts.readTree(digest)
    expect(entries.map(({ path }) => path)).toEqual(['layers/weights.bin', 'model.onnx'])
    const files = await modelFiles({ artifacts, dataDir }, digest)
    expect(files.externalDigests).toEqual({ 'layers/weights.bin': digestOf(weights) })
    expect(digestOf(readFileSync(files.path))).toBe(files.digest)
    expect(sizeBytes).toBe(weights.length + readFileSync(files.path).length)
    const model = await openModel(files.path)
    const { y } = await model.run({ x: { datatype: 'FP32', shape: [1, 2], data: Float32Array.of(10, 1) } })
    expect([...(y!.data as Float32Array)]).toEqual([23])
    await model.close()
  })

  it('is laid out again where somebody has changed it there', async () => {
    const { digest } = await kept()
    const { path } = await modelFiles({ artifacts, dataDir }, digest)
    writeFileSync(join(path, '..', location), new Uint8Array(8))
    await modelFiles({ artifacts, dataDir }, digest)
    expect(digestOf(readFileSync(join(path, '..', location)))).toBe(digestOf(weights))
  })

  it('is laid out once by many who want it at the same time', async () => {
    const { digest } = await kept()
    const all = await Promise.all(Array.from({ length: 5 }, () => modelFiles({ artifacts, dataDir }, digest)))
    expect(new Set(all.map(({ path }) => path)).size).toBe(1)
    await forgetModelFiles(dataDir, digest)
    expect(existsSync(all[0]!.path)).toBe(false)
  })

  it.each<[string, () => void, string]>([
    ['that are missing', () => {}, 'which is missing'],
    [
      'that lie elsewhere by a link',
      () => symlinkSync('/etc/hostname', join(dataDir, 'export', location)),
      'outside its own folder',
    ],
    ['that are a folder', () => mkdirSync(join(dataDir, 'export', location)), 'which is missing'],
  ])('is refused when it is opened with weights %s', async (_what, make, why) => {
    make()
    const model = onnx.externalDataModel(2, location)
    await expect(openModel(exported(model))).rejects.toMatchObject({
      code: 'MR_MODEL_EXTERNAL_DATA',
      message: expect.stringContaining(why),
    })
    const { digest } = await keep(model)
    expect(await artifacts.isTree(digest)).toBe(false)
    const { path } = await modelFiles({ artifacts, dataDir }, digest)
    await expect(openModel(path)).rejects.toMatchObject({ code: 'MR_MODEL_EXTERNAL_DATA' })
  })
})

describe('a model with a table of features', () => {
  it('is kept with it, and laid out with it beside the model', async () => {
    const path = exported(onnx.linearModel({ weights: [1, 2] }))
    writeFileSync(join(dirname(path), 'customers.parquet'), 'rows')
    const { digest } = await keepModelFile(artifacts, path, scratch(), ['customers.parquet'])
    const files = await modelFiles({ artifacts, dataDir }, digest)
    expect(readFileSync(join(dirname(files.path), 'customers.parquet'), 'utf8')).toBe('rows')
    const [table] = placedTables(files, [declared], 5)
    const place = { path: join(dirname(files.path), 'customers.parquet'), digest: digestOf(Buffer.from('rows')) }
    expect(table).toEqual({ ...declared, ...place, asOfMs: 5 })
  })

  it('is refused where the table is not there', async () => {
    await expect(keepModelFile(artifacts, exported(zeros), scratch(), ['none.parquet'])).rejects.toThrow(
      "The feature table 'none.parquet' can't be used: it is not beside the model.",
    )
  })

  const zeros = onnx.linearModel({ weights: [0] })
  const declared = {
    table: 'customers.parquet',
    key: { column: 'id' },
    columns: ['a'],
    stalenessMs: null,
    missing: 'error' as const,
    stale: 'error' as const,
  }
})

describe('a model with a step before it', () => {
  it('is kept with all that lies beside it but for what Python leaves behind, ZipMap rewritten all the same', async () => {
    const path = exported(onnx.zipMapModel([1, 2]))
    const dir = dirname(path)
    mkdirSync(join(dir, 'vocabulary', '__pycache__'), { recursive: true })
    writeFileSync(join(dir, 'vocabulary', 'words.json'), '["a"]')
    writeFileSync(join(dir, 'vocabulary', '__pycache__', 'x.pyc'), 'x')
    writeFileSync(join(dir, 'scaler.json'), '{}')
    const { digest } = await keepModelFile(artifacts, path, scratch(), 'all')
    const files = await modelFiles({ artifacts, dataDir }, digest)
    expect(Object.keys(files.externalDigests).toSorted()).toEqual(['scaler.json', 'vocabulary/words.json'])
    expect(readFileSync(join(dirname(files.path), 'vocabulary', 'words.json'), 'utf8')).toBe('["a"]')
    expect((await registrationOf(artifacts, digest)).notes).toEqual([expect.stringContaining('served as FP32')])
    await (await openModel(files.path)).close()
  })

  it('is one file where nothing lies beside it', async () => {
    const { digest } = await keepModelFile(artifacts, exported(onnx.linearModel({ weights: [1] })), scratch(), 'all')
    expect(await artifacts.isTree(digest)).toBe(false)
  })
})

describe('a folder that a server of its own reads', () => {
  it('is kept whole but for what Python leaves behind', async () => {
    const dir = join(dataDir, 'export')
    writeFileSync(join(dir, 'weights.json'), '{}')
    mkdirSync(join(dir, '__pycache__'))
    writeFileSync(join(dir, '__pycache__', 'x.pyc'), 'x')
    const { digest, sizeBytes } = await keepModelFolder(artifacts, dir)
    const { entries } = await artifacts.readTree(digest)
    expect(entries.filter(({ type }) => type === 'file').map(({ path }) => path)).toEqual(['weights.json'])
    expect(sizeBytes).toBe(2)
  })
})
