import { createHash } from 'node:crypto'
import { createReadStream, type Stats } from 'node:fs'
import { glob, mkdir, readdir, stat } from 'node:fs/promises'
import { isAbsolute, join, relative, resolve, sep } from 'node:path'
import { MillraceError } from '../../kernel/errors.ts'
import { isMissing } from '../../kernel/runtime/system-error.ts'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'
import type { Run, Step } from './run.ts'

/** What went into an attempt: kept for lineage. */
export interface InputRecord {
  name: string
  kind: 'file' | 'sql' | 'step'
  /** What was declared. */
  source: string
  path: string
  /** Of SQL and step inputs the artifact; of files one digest over names and contents. */
  digest: string
  files: number
  sizeBytes: number
}

export class InputMissingError extends MillraceError {
  constructor(step: string, input: string, source: string) {
    super({
      code: 'MR_INPUT_MISSING',
      kind: 'invalid',
      message: `Input '${input}' of step '${step}' is not there: nothing matches ${source}.`,
      fix: 'Check the path, which is relative to the configuration file, or let an earlier step write it.',
    })
  }
}

export interface InputTools {
  root: string
  artifacts: Artifacts
  /** Aborted when nobody needs the inputs any more. */
  signal: AbortSignal
  /** Writes the rows of a query to a Parquet file, in a process of its own. */
  materialiseSql(sql: string, asOfMs: number, target: string): Promise<void>
}

/** Makes every declared input of a step ready as a path. */
export async function prepareInputs(
  run: Run,
  step: Step,
  others: Step[],
  dir: string,
  tools: InputTools,
): Promise<InputRecord[]> {
  const records: InputRecord[] = []
  await mkdir(dir, { recursive: true })
  for (const { name, source } of step.spec.inputs) {
    tools.signal.throwIfAborted()
    if (source.kind === 'file') records.push(await fileInput(step, name, source.path, tools))
    else if (source.kind === 'sql') records.push(await sqlInput(run, name, source.sql, dir, tools))
    else records.push(await stepInput(step, name, source, others, dir, tools))
  }
  return records
}

async function fileInput(step: Step, name: string, path: string, tools: InputTools): Promise<InputRecord> {
  const pattern = isAbsolute(path) ? path : join(tools.root, path)
  const hash = createHash('sha256')
  let files = 0
  let sizeBytes = 0
  for (const file of await filesOf(pattern)) {
    tools.signal.throwIfAborted()
    const { size } = await stat(file)
    hash.update(`${relative(tools.root, file)}\0${size}\0`)
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
    files++
    sizeBytes += size
  }
  if (files === 0) throw new InputMissingError(step.spec.name, name, path)
  return { name, kind: 'file', source: path, path: pattern, digest: `sha256:${hash.digest('hex')}`, files, sizeBytes }
}

/** A file of that very name, all files below a folder, or what a glob matches; sorted. */
async function filesOf(pattern: string): Promise<string[]> {
  const literal = await factsOf(pattern)
  const roots = literal === null ? await Array.fromAsync(glob(pattern)) : [pattern]
  const files: string[] = []
  for (const path of roots) {
    if (!(await stat(path)).isDirectory()) files.push(path)
    else {
      const below = await readdir(path, { recursive: true, withFileTypes: true })
      files.push(...below.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)))
    }
  }
  return files.sort()
}

async function sqlInput(run: Run, name: string, sql: string, dir: string, tools: InputTools): Promise<InputRecord> {
  const path = join(dir, `${name}.parquet`)
  await tools.materialiseSql(sql, run.asOfMs, path)
  const { digest, sizeBytes } = await tools.artifacts.putFile(path)
  return { name, kind: 'sql', source: sql, path, digest, files: 1, sizeBytes }
}

async function stepInput(
  step: Step,
  name: string,
  source: { step: string; file: string | null },
  others: Step[],
  dir: string,
  tools: InputTools,
): Promise<InputRecord> {
  const digest = others.find((s) => s.name === source.step)?.outputDigest
  const declared = source.file === null ? `steps.${source.step}` : `steps.${source.step}/${source.file}`
  if (digest === null || digest === undefined) throw new InputMissingError(step.spec.name, name, declared)
  const folder = join(dir, source.step)
  const there = await factsOf(folder)
  if (there === null) await tools.artifacts.materialiseDir(digest, folder)
  const path = source.file === null ? folder : resolve(folder, source.file)
  if (path !== folder && !path.startsWith(folder + sep)) throw new InputMissingError(step.spec.name, name, declared)
  const found = await factsOf(path)
  if (found === null) throw new InputMissingError(step.spec.name, name, declared)
  return { name, kind: 'step', source: declared, path, digest, files: 1, sizeBytes: found.isFile() ? found.size : 0 }
}

/** null where nothing is there. Any other trouble (no permission, a broken disk) is told. */
async function factsOf(path: string): Promise<Stats | null> {
  try {
    return await stat(path)
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}
