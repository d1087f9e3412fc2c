import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../../kernel/errors.ts'
import { ServeInputError } from './errors.ts'

/** A version as it lies in a folder of models: `DIR/<model>/<version>/model.onnx`. */
export interface FoundVersion {
  model: string
  version: string
  /** Of the ONNX file; its weights may lie beside it. */
  path: string
  /** Changes when any of its files does. */
  stamp: string
}

/** Further files of a version that are looked at for changes. */
const FILES_MAX = 1_000

/**
 * All models of a folder with all their versions, the newest (10 comes after 9) first. What has another form is passed
 * over: a folder without `model.onnx` may still be filled.
 * @throws ServeInputError when the folder can't be read
 */
export async function findModels(dir: string): Promise<Map<string, FoundVersion[]>> {
  const found = new Map<string, FoundVersion[]>()
  for (const model of await foldersOf(dir)) {
    const versions = await findVersions(dir, model)
    if (versions.length > 0) found.set(model, versions)
  }
  return found
}

/** One of them; empty where there is none. */
export async function findVersions(dir: string, model: string): Promise<FoundVersion[]> {
  if (!isName(model)) return []
  const versions: FoundVersion[] = []
  for (const version of await foldersOf(join(dir, model), true)) {
    const folder = join(dir, model, version)
    const path = join(folder, 'model.onnx')
    const stamp = await stampOf(folder)
    if (stamp !== null) versions.push({ model, version, path, stamp })
  }
  return versions.toSorted((a, b) => b.version.localeCompare(a.version, 'en', { numeric: true }))
}

/** The same of a single file. @returns null where there is none */
export async function fileStamp(path: string): Promise<string | null> {
  try {
    const { size, mtimeMs } = await stat(path)
    return `${size} ${mtimeMs}`
  } catch {
    return null // loading it says why
  }
}

/** A model's name comes from clients: it must not lead out of the folder. */
const isName = (name: string): boolean => name !== '' && !name.startsWith('.') && !/[/\\\0]/.test(name)

async function foldersOf(dir: string, mayBeMissing = false): Promise<string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true })
    const names = entries.filter((entry) => !entry.isFile() && isName(entry.name)).map(({ name }) => name)
    return names.toSorted()
  } catch (error) {
    if (mayBeMissing) return []
    throw new ServeInputError(
      `Can't read the folder of models '${dir}': ${messageOf(error)}.`,
      'Give a folder that holds <model>/<version>/model.onnx.',
      error,
    )
  }
}

/** Null where the ONNX file is not there. */
async function stampOf(folder: string): Promise<string | null> {
  const own = await fileStamp(join(folder, 'model.onnx'))
  if (own === null) return null
  const names = (await readdir(folder).catch(() => [])).filter((name) => name !== 'model.onnx').toSorted()
  const stamps = await Promise.all(names.slice(0, FILES_MAX).map((name) => fileStamp(join(folder, name))))
  return [own, ...names.map((name, i) => `${name} ${stamps[i] ?? ''}`)].join('\n')
}
