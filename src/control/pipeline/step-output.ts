import { open, readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'
import { messageOf } from '../../kernel/errors.ts'
import { keepModelFile, keepModelFolder, MODEL_FILE, type Beside, type KeptModel } from '../registry/model-files.ts'

export interface StepOutput {
  outputDigest: string | null
  modelDigest: string | null
  modelBytes: number
  /** `metrics.json` as the trainer wrote it; null where it wrote none or none that can be used. */
  metrics: MetricTree | null
  warnings: string[]
}

export type MetricTree = { [name: string]: number | MetricTree }

const METRICS_MAX_BYTES = 1024 * 1024
const FAILURE_MAX_BYTES = 2_000

/**
 * Takes what a step left behind into the artifact store. Repeating it gives the same digests.
 * @param options.wholeFolder - the model is served by a command of the user's own, which reads all that lies there
 * @param options.beside - what is kept with the model of what lies beside it
 */
export async function collectOutput(
  attemptDir: string,
  artifacts: Artifacts,
  options: { wholeFolder: boolean; beside: Beside },
): Promise<StepOutput> {
  const outputDir = join(attemptDir, 'output')
  const hasOutput = (await filesIn(outputDir)).length > 0
  const model = await keptModel(attemptDir, artifacts, options)
  const { metrics, warnings } = await readMetrics(join(outputDir, 'metrics.json'))
  return {
    outputDigest: hasOutput ? (await artifacts.putDir(outputDir, { ignore: [] })).digest : null,
    modelDigest: model?.digest ?? null,
    modelBytes: model?.sizeBytes ?? 0,
    metrics,
    warnings: [...(model?.notes.map((note) => `${MODEL_FILE}: ${note}.`) ?? []), ...warnings],
  }
}

async function keptModel(
  attemptDir: string,
  artifacts: Artifacts,
  { wholeFolder, beside }: { wholeFolder: boolean; beside: Beside },
): Promise<KeptModel | null> {
  const dir = join(attemptDir, 'model')
  if (wholeFolder) return (await filesIn(dir)).length === 0 ? null : keepModelFolder(artifacts, dir)
  const found = await fileOrNull(join(dir, MODEL_FILE))
  return found === null ? null : keepModelFile(artifacts, found.path, join(attemptDir, 'servable.onnx'), beside)
}

/** The reason that a step gave for people, in the file `failure` of its output directory. */
export async function failureFile(attemptDir: string): Promise<string | null> {
  const found = await fileOrNull(join(attemptDir, 'output', 'failure'))
  if (found === null) return null
  const file = await open(found.path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(FAILURE_MAX_BYTES), 0, FAILURE_MAX_BYTES, 0)
    const text = buffer.subarray(0, bytesRead).toString('utf8').replaceAll('\0', '').trim()
    return text === '' ? null : text
  } finally {
    await file.close()
  }
}

/** What the trainer said of its model, from its kept output. */
export async function reportedMetrics(outputDigest: string | null, artifacts: Artifacts): Promise<MetricTree | null> {
  if (outputDigest === null) return null
  const { entries } = await artifacts.readTree(outputDigest)
  const file = entries.find((entry) => entry.type === 'file' && entry.path === 'metrics.json')
  if (file?.type !== 'file') return null
  return (await readMetrics(await artifacts.verifiedPath(file.digest))).metrics
}

const LAST_BYTES = 4_096
const LAST_LINE_MAX_CHARS = 200

/** The last line that a step wrote, which is where most programs say why they failed. */
export async function lastLine(attemptDir: string): Promise<string | null> {
  const log = join(attemptDir, 'log')
  const found = await fileOrNull(log)
  if (found === null) return null
  const file = await open(log)
  try {
    const buffer = Buffer.alloc(Math.min(LAST_BYTES, found.sizeBytes))
    await file.read(buffer, 0, buffer.length, found.sizeBytes - buffer.length)
    return lastWords(buffer.toString('utf8'))
  } finally {
    await file.close()
  }
}

/** Where Node ends with an error, what it says stands above the stack and the version. */
const NOT_SAID = /^[\]{}(),;]*$|^millrace:|^Node\.js v\d|^at .*:\d+:\d+\)?$/

/** The last line in which a program says something. */
export function lastWords(output: string): string | null {
  const lines = output.split('\n').map((line) => line.trim())
  return lines.findLast((line) => !NOT_SAID.test(line))?.slice(0, LAST_LINE_MAX_CHARS) ?? null
}

/**
 * The trainer's own word about its model. Millrace judges by its own evaluation, so that a broken file costs a warning
 * and not the model.
 */
async function readMetrics(path: string): Promise<{ metrics: MetricTree | null; warnings: string[] }> {
  const found = await fileOrNull(path)
  if (found === null) return { metrics: null, warnings: [] }
  if (found.sizeBytes > METRICS_MAX_BYTES)
    return refuse(`it has ${found.sizeBytes} bytes, at most ${METRICS_MAX_BYTES} are read`)
  try {
    const parsed: unknown = JSON.parse(await readFile(path, 'utf8'))
    const problem = problemIn(parsed, '')
    return problem === null ? { metrics: parsed as MetricTree, warnings: [] } : refuse(problem)
  } catch (error) {
    return refuse(messageOf(error))
  }
}

const refuse = (why: string) => ({
  metrics: null,
  warnings: [`metrics.json is ignored: ${why}. Write nested objects of numbers.`],
})

function problemIn(value: unknown, path: string): string | null {
  if (typeof value === 'number' && Number.isFinite(value)) return path === '' ? 'it is a number, not an object' : null
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return `${path === '' ? 'it' : `'${path}'`} is ${JSON.stringify(value)?.slice(0, 60)}, not a number`
  for (const [name, inner] of Object.entries(value)) {
    const problem = problemIn(inner, path === '' ? name : `${path}.${name}`)
    if (problem !== null) return problem
  }
  return null
}

/** A step may have removed its output directory: then it has none. */
async function filesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

async function fileOrNull(path: string): Promise<{ path: string; sizeBytes: number } | null> {
  try {
    const found = await stat(path)
    return found.isFile() ? { path, sizeBytes: found.size } : null
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw error
  }
}
