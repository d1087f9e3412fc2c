import { createHash } from 'node:crypto'
import { readFile, realpath, stat } from 'node:fs/promises'
import { dirname, extname, isAbsolute, relative } from 'node:path'
import { ConfigError } from './errors.ts'
import type { ConfigProblem } from './errors.ts'
import { findConfig, yamlEndings } from './find-config.ts'
import { readYaml } from './locate-yaml.ts'
import type { Locate } from './position.ts'
import { valueAt } from './problems.ts'
import type { Finding } from './finding.ts'
import type { Project } from './project.ts'
import { readCode } from './read-code.ts'
import type { Broken, ReadFile } from './read-code.ts'
import { readProject } from './read-project.ts'
import type { Path } from './schema-tree.ts'

export interface LoadOptions {
  /** A configuration file, or a folder with one; relative to `cwd`. */
  configPath?: string
  /** Where to look. The working directory unless said. */
  cwd?: string
  /** How long the file may run, in ms. */
  timeoutMs?: number
}

export interface LoadedProject {
  project: Project
  /** Text of the configuration file, kept with the revision. */
  source: string
  /** Absolute. */
  sourcePath: string
  /** `sha256:…` of the project: equal digests mean that an `apply` would change nothing. */
  digest: string
}

const TIMEOUT_MS = 10_000
const SOURCE_MAX_BYTES = 2_000_000

/**
 * Finds, runs and checks the project's configuration.
 * @throws ConfigNotFoundError, ConfigAmbiguousError; ConfigError with every problem, its place and its fix
 */
export async function loadProject(options: LoadOptions = {}): Promise<LoadedProject> {
  const cwd = options.cwd ?? process.cwd()
  // Modules are known by their real path, as are the places in their errors.
  const sourcePath = await realpath(await findConfig(cwd, options.configPath))
  const shown = shownPath(sourcePath, await realpath(cwd))
  const source = await readSource(sourcePath, shown)
  const file = isYaml(sourcePath)
    ? readYamlFile(source)
    : await readCode(sourcePath, source, options.timeoutMs ?? TIMEOUT_MS)
  if (file.kind === 'broken') throw new ConfigError(file.problems.map((problem) => toProblem(problem, shown)))
  const read = readProject(file.value, dirname(sourcePath))
  if (read.kind === 'refused')
    throw new ConfigError(inOrder(read.findings.map((finding) => located(finding, file.value, file.locate, shown))))
  return { project: read.project, source, sourcePath, digest: digestOf(read.project) }
}

async function readSource(path: string, shown: string): Promise<string> {
  const { size } = await stat(path)
  if (size <= SOURCE_MAX_BYTES) return readFile(path, 'utf8')
  const message = `has ${size} bytes, at most ${SOURCE_MAX_BYTES} are read`
  throw new ConfigError([
    toProblem({ path: [], message, fix: 'move data out of it, into files that it names.', at: null }, shown),
  ])
}

function readYamlFile(source: string): ReadFile {
  const file = readYaml(source)
  if (file.kind === 'value') return file
  const problems = file.problems.map(({ message, at }) => ({
    path: [],
    message: `can't be read: ${message}`,
    fix: 'correct the YAML at this place.',
    at,
  }))
  return { kind: 'broken', problems }
}

function located(finding: Finding, written: unknown, locate: Locate, file: string): ConfigProblem {
  const value = shownValue(valueAt(written, finding.path))
  return { ...toProblem({ ...finding, at: locate(finding.path) }, file), value }
}

function toProblem(problem: Broken, file: string): ConfigProblem {
  return {
    file: problem.file ?? file,
    line: problem.at?.line ?? null,
    column: problem.at?.column ?? null,
    field: fieldText(problem.path),
    value: null,
    message: problem.message,
    fix: problem.fix,
  }
}

/** `['models', 'late-flight', 'on', 0, 'settle']` → `models.late-flight.on[0].settle` */
function fieldText(path: Path): string {
  return path.map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? key : `.${key}`)).join('')
}

const VALUE_MAX_CHARS = 60

/** Scalars in full, objects and lists only where they are short: the place is given anyway. */
function shownValue(value: unknown): string | null {
  const json = JSON.stringify(value)
  if (json === undefined) return null
  if (json.length <= VALUE_MAX_CHARS) return json
  return typeof value === 'string' ? `${json.slice(0, VALUE_MAX_CHARS)}…"` : null
}

/** Below the working directory as seen from there, which editors and terminals open on a click. */
function shownPath(path: string, cwd: string): string {
  const below = relative(cwd, path)
  return below.startsWith('..') || isAbsolute(below) ? path : below
}

const inOrder = (problems: ConfigProblem[]) =>
  problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))

const isYaml = (path: string) => (yamlEndings as readonly string[]).includes(extname(path))

function digestOf(project: Project): string {
  return `sha256:${createHash('sha256')
    .update(JSON.stringify(canonical(project)))
    .digest('hex')}`
}

/** With sorted keys, so that the order in which fields were written does not count. Lists keep theirs. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, inner]) => [key, canonical(inner)]))
}
