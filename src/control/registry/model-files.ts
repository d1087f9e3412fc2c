import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { join, normalize, relative } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { hexOf, type Artifacts, type Tree } from '../../kernel/artifacts/artifacts.ts'
import { isMissing } from '../../kernel/runtime/system-error.ts'
import { FeatureTableError } from '../../kernel/features/errors.ts'
import { TABLE_BYTES_MAX } from '../../kernel/features/feature-source.ts'
import { ModelNotServableError } from '../../kernel/model/errors.ts'
import { inspectOnnx, type OnnxFacts } from '../../kernel/model/onnx-model.ts'
import { servingNotes } from '../../kernel/model/serving-notes.ts'
import { ORIGINAL_PROPERTY, rewriteZipMaps } from '../../kernel/model/zip-map.ts'

/**
 * A version's model is kept in one of three forms, told apart by what its digest leads to:
 *
 *   a file                      one ONNX file
 *   a folder with model.onnx    the same with its weights in further files, with tables that give it inputs, or with what
 *                               its preparing step reads
 *   any other folder            what a server of the user's own reads
 */
export const MODEL_FILE = 'model.onnx'

export interface KeptModel {
  digest: string
  sizeBytes: number
  /** What is to be known of how it is served, for people. */
  notes: string[]
}

/** What is kept with an ONNX file besides its weights: tables, by their paths beside it, or all that lies there. */
export type Beside = readonly string[] | 'all'

/**
 * Takes an ONNX file into the store, with the files that hold its weights, and what lies beside it, ZipMap rewritten. One
 * that can't be read is kept as it is: opening it, which comes next, says what is wrong with it. Repeating it gives the
 * same digest.
 * @param scratch - a path that may be written to and removed
 * @throws FeatureTableError where a table is not there or too large
 */
export async function keepModelFile(
  artifacts: Artifacts,
  path: string,
  scratch: string,
  beside: Beside = [],
): Promise<KeptModel> {
  await rm(scratch, { force: true })
  try {
    const rewritten = (await rewriteZipMaps(path, scratch)) !== null
    const files = beside === 'all' ? await allFiles(path) : await namedFiles(path, beside)
    const from = rewritten ? scratch : path
    if (files.length === 0) {
      const { digest, sizeBytes } = await artifacts.putFile(from)
      return { digest, sizeBytes, notes: await notesOf(artifacts, digest) }
    }
    const { digest, contentBytes } = await artifacts.putFiles([{ path: MODEL_FILE, from }, ...files])
    return { digest, sizeBytes: contentBytes, notes: await notesOf(artifacts, digest) }
  } finally {
    await rm(scratch, { force: true })
  }
}

/** Takes a folder that only a server of the user's own understands. */
export async function keepModelFolder(artifacts: Artifacts, dir: string): Promise<KeptModel> {
  const { digest, contentBytes, leftOut } = await artifacts.putDir(dir, { ignore: ['__pycache__'] })
  return { digest, sizeBytes: contentBytes, notes: leftOut.map((name) => `${name} has no content to keep`) }
}

const namedFiles = async (path: string, tables: readonly string[]) => [
  ...(await weightFiles(path)),
  ...(await tableFiles(path, tables)),
]

/** All that lies in the model's folder and below, but for the model itself and what Python leaves behind. */
async function allFiles(path: string): Promise<{ path: string; from: string }[]> {
  const dir = join(path, '..')
  const files: { path: string; from: string }[] = []
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const from = join(entry.parentPath, entry.name)
    const name = relative(dir, from)
    if (name === MODEL_FILE || name.split('/').includes('__pycache__')) continue
    if ((await stat(from)).isFile()) files.push({ path: name, from })
  }
  return files
}

async function tableFiles(path: string, tables: readonly string[]): Promise<{ path: string; from: string }[]> {
  const files = [...new Set(tables)].map((table) => ({ path: table, from: join(path, '..', table) }))
  for (const { path: table, from } of files) {
    const found = await stat(from).catch((error: unknown) => {
      if (isMissing(error)) return null
      throw error
    })
    if (found === null || !found.isFile())
      throw new FeatureTableError(
        table,
        'it is not beside the model',
        'Have the step that writes the model write it there.',
      )
    if (found.size > TABLE_BYTES_MAX)
      throw new FeatureTableError(
        table,
        `it has ${found.size} bytes, of ${TABLE_BYTES_MAX} at most`,
        'Leave out rows or columns.',
      )
  }
  return files
}

async function weightFiles(path: string): Promise<{ path: string; from: string }[]> {
  const facts = await factsOrNull(path, true)
  const names = [...new Set((facts?.externalFiles ?? []).map((file) => normalize(file)))]
  return names.map((name) => ({ path: name, from: join(path, '..', name) }))
}

/** @param zipped - the ZipMap in it is known */
async function factsOrNull(path: string, zipped = false): Promise<OnnxFacts | null> {
  try {
    return await inspectOnnx(path, { zipMaps: zipped })
  } catch (error) {
    if (error instanceof ModelNotServableError) return null
    throw error
  }
}

/** What a person should know of how a kept model is served; from the file itself, so that it is never lost. */
export async function registrationOf(
  artifacts: Artifacts,
  digest: string,
): Promise<{ original: string | null; notes: string[]; sizeBytes: number }> {
  const tree = (await artifacts.isTree(digest)) ? await artifacts.readTree(digest) : null
  const sizeBytes = tree === null ? await artifacts.sizeOf(digest) : contentBytes(tree)
  const entry = tree === null ? digest : fileIn(tree, MODEL_FILE)
  const facts = entry === null ? null : await onnxFactsOf(artifacts, entry)
  if (facts === null) return { original: null, notes: [], sizeBytes }
  return { original: facts.metadata[ORIGINAL_PROPERTY] ?? null, notes: servingNotes(facts), sizeBytes }
}

async function notesOf(artifacts: Artifacts, digest: string): Promise<string[]> {
  return (await registrationOf(artifacts, digest)).notes
}

/** Its weight files lie elsewhere in the store, under their digests. */
async function onnxFactsOf(artifacts: Artifacts, digest: string): Promise<OnnxFacts | null> {
  try {
    return await inspectOnnx(await artifacts.verifiedPath(digest), { weights: false })
  } catch (error) {
    if (error instanceof ModelNotServableError) return null
    throw error
  }
}

export interface ModelFiles {
  /** The ONNX file, weights beside it; of a server's own form the folder. */
  path: string
  /** Of the file at `path`; of a folder the folder's. */
  digest: string
  /** Digests of the weight files, by their paths beside the model. */
  externalDigests: Record<string, string>
}

/** By folder: the one check or copy of it that is under way. */
const underWay = new Map<string, Promise<void>>()

/**
 * Where a version's ONNX file can be opened, its bytes checked. One with weights in further files is laid out once in
 * `<data directory>/models/<digest>`.
 * @throws ArtifactNotFoundError, ArtifactCorruptError
 */
export async function modelFiles(
  { artifacts, dataDir }: { artifacts: Artifacts; dataDir: string },
  digest: string,
): Promise<ModelFiles> {
  if (!(await artifacts.isTree(digest)))
    return { path: await artifacts.verifiedPath(digest), digest, externalDigests: {} }
  const tree = await artifacts.readTree(digest)
  const dir = layoutDir(dataDir, digest)
  const work = underWay.get(dir) ?? layOut(artifacts, digest, tree, dir).finally(() => underWay.delete(dir))
  underWay.set(dir, work)
  await work
  const model = fileIn(tree, MODEL_FILE)
  if (model === null) return { path: dir, digest, externalDigests: {} }
  const others = filesIn(tree).filter(({ path }) => path !== MODEL_FILE)
  const externalDigests = Object.fromEntries(others.map((file) => [file.path, file.digest]))
  return { path: join(dir, MODEL_FILE), digest: model, externalDigests }
}

/** Removes what `modelFiles` has laid out. */
export async function forgetModelFiles(dataDir: string, digest: string): Promise<void> {
  await rm(layoutDir(dataDir, digest), { recursive: true, force: true })
}

const layoutDir = (dataDir: string, digest: string) => join(dataDir, 'models', hexOf(digest))

/** What somebody has changed is laid out again; a process that has the old file open keeps it. */
async function layOut(artifacts: Artifacts, digest: string, tree: Tree, dir: string): Promise<void> {
  if (await isIntact(tree, dir)) return
  await rm(dir, { recursive: true, force: true })
  await artifacts.materialiseDir(digest, dir)
}

async function isIntact(tree: Tree, dir: string): Promise<boolean> {
  for (const { path, digest } of filesIn(tree)) if ((await digestOrNull(join(dir, path))) !== digest) return false
  return true
}

async function digestOrNull(path: string): Promise<string | null> {
  const hash = createHash('sha256')
  try {
    await pipeline(createReadStream(path, { highWaterMark: 256 * 1024 }), hash)
  } catch {
    return null // whatever it is, it is laid out again
  }
  return `sha256:${hash.digest('hex')}`
}

const filesIn = (tree: Tree) => tree.entries.filter((entry) => entry.type === 'file')

const fileIn = (tree: Tree, path: string): string | null =>
  filesIn(tree).find((file) => file.path === path)?.digest ?? null

const contentBytes = (tree: Tree) => filesIn(tree).reduce((sum, file) => sum + file.sizeBytes, 0)
