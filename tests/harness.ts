import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { onTestFailed } from 'vitest'
import { INSTANCE_MARK } from '../src/kernel/runtime/marks.ts'
import { instanceOf, socketDir } from '../src/kernel/runtime/socket-dir.ts'
import { findAll } from '../src/kernel/runtime/stop-all.ts'
import { prepareDatabase } from '../src/testing/prepared-database.ts'
import type { EndpointView } from '../src/surface/api/endpoint-schemas.ts'
import type { QueryResult } from '../src/surface/api/prediction-log-schemas.ts'
import type { RunView } from '../src/surface/api/run-schemas.ts'
import type { VersionView } from '../src/surface/api/version-schemas.ts'
import { connectControlPlane, type ControlApi } from '../src/surface/client/control-plane.ts'
import { until } from './crash/until.ts'

export { until } from './crash/until.ts'

/*
 * A whole Millrace for a test, through its real command line: a project in a temporary folder, its processes, a typed
 * client, and what is left of it at the end.
 */

const MAIN = resolve(import.meta.dirname, '../src/surface/cli/main.ts')
/** For one command, and for what the loop does by itself. Generous: the machine may be busy with other things. */
const COMMAND_MS = 180_000
const LOOP_MS = 240_000
const LOG_LINES = 15

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

export interface CallOptions {
  cwd?: string
  stdin?: string
  env?: Record<string, string>
  timeoutMs?: number
}

/** What a client of the gateway sees. */
export interface Answer {
  status: number
  headers: Headers
  body: unknown
}

export interface Prediction {
  id: string
  version: string
  /** Of the last output, row by row. */
  score: number
}

export interface Installation {
  folder: string
  dataDir: string
  env: Record<string, string>
  api: ControlApi
  /** Runs `millrace …args` in the project's folder. */
  millrace(args: string[], options?: CallOptions): Promise<Ended>
  /** The same with `--json`, which must succeed. @returns its document */
  json<T>(args: string[], options?: CallOptions): Promise<T>
  /** Starts it detached on a free port and waits until it is up. */
  up(args?: string[]): Promise<void>
  down(): Promise<void>
  /** Stops whatever runs and removes every file. */
  remove(): Promise<void>
  write(path: string, content: string | Uint8Array): void
  /** The last lines of each process. */
  logs(): string
}

/**
 * An empty project's folder. Sockets go to a directory of its own, so that what is left there can be seen.
 * @param files - of the project, by their path
 */
export function install(files: Record<string, string | Uint8Array> = {}, options: Options = {}): Installation {
  const home = mkdtempSync(join(tmpdir(), 'mr-'))
  const folder = join(home, 'project')
  const dataDir = options.dataDir ?? join(folder, '.millrace')
  const env: Record<string, string> & { XDG_RUNTIME_DIR: string } = {
    XDG_RUNTIME_DIR: join(home, 'run'),
    MILLRACE_DATA_DIR: dataDir,
    MILLRACE_BY: 'ann',
    ...options.env,
  }
  mkdirSync(folder)
  mkdirSync(env.XDG_RUNTIME_DIR, { mode: 0o700 })

  /** What was left when its files were removed: hooks of a failed test come after that. */
  let lastLogs: string | null = null

  const installation: Installation = {
    folder,
    dataDir,
    env,
    // Where the sockets are is known only once the data directory is there.
    get api() {
      return connectControlPlane({ socketPath: join(socketDir(dataDir, env), 'control.sock'), waitMs: 10_000 }).api
    },
    millrace: (args, call = {}) => runCommand([MAIN, ...args], { cwd: folder, ...call, env: { ...env, ...call.env } }),
    async json<T>(args: string[], call?: CallOptions) {
      const { code, stdout, stderr } = await installation.millrace([...args, '--json'], call)
      if (code !== 0) throw new Error(`millrace ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`)
      return JSON.parse(stdout) as T
    },
    async up(args = []) {
      if (options.isFirstStart !== true && env.MILLRACE_DATABASE_URL === undefined) await prepareDatabase(dataDir)
      const ended = await installation.millrace(['up', '--detach', '--port', '0', ...args])
      if (ended.code !== 0)
        throw new Error(`millrace up ended with ${ended.code}: ${ended.stderr}\n${installation.logs()}`)
    },
    async down() {
      const ended = await installation.millrace(['down'])
      if (ended.code !== 0) throw new Error(`millrace down ended with ${ended.code}: ${ended.stderr}`)
    },
    async remove() {
      await installation.millrace(['down', '--timeout', '5s'])
      lastLogs = installation.logs()
      rmSync(home, { recursive: true, force: true })
    },
    write(path, content) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), content)
    },
    logs: () => lastLogs ?? lastLines(join(dataDir, 'logs')),
  }
  for (const [path, content] of Object.entries(files)) installation.write(path, content)
  return installation
}

interface Options {
  dataDir?: string
  env?: Record<string, string>
  /** It makes its database itself, which takes seconds. */
  isFirstStart?: boolean
}

/** In a test or a hook: what the processes said last is shown should it fail. */
export function showLogsOnFailure(installation: Installation): void {
  onTestFailed(() => console.error(installation.logs()))
}

/** Node with this command line, as a process of its own. It is killed after its time. */
export function runCommand(args: string[], options: CallOptions, file = process.execPath): Promise<Ended> {
  const { cwd, stdin = '', timeoutMs = COMMAND_MS } = options
  const child = spawn(file, args, { cwd, env: { ...cleanEnvironment(), ...options.env }, timeout: timeoutMs })
  const ended: Ended = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', (piece: Buffer) => (ended.stdout += piece.toString()))
  child.stderr.on('data', (piece: Buffer) => (ended.stderr += piece.toString()))
  child.stdin.on('error', () => undefined) // it ended without reading: its answer says so
  child.stdin.end(stdin)
  return new Promise((done, fail) => {
    child.once('error', fail)
    child.once('close', (code) => done({ ...ended, code }))
  })
}

/** Ours without what would make Millrace another one, and with the tests' own Node first, as `node` in commands is. */
export function cleanEnvironment(): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(MILLRACE_|npm_(?!config_)|VITEST|NODE_ENV$|NODE_OPTIONS$)/.test(name),
  )
  return {
    ...(Object.fromEntries(kept) as Record<string, string>),
    PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? '/usr/bin:/bin'}`,
    NO_COLOR: '1',
    ORT_DISABLE_TELEMETRY: '1',
  }
}

/** Waits until the run and what follows from it are decided. */
export async function settled({ api }: Installation, id: string): Promise<RunView> {
  const run = await until(
    `${id} to be settled`,
    async () => {
      const seen = await api.runs.get({ id })
      return seen.outcome.settled ? seen : null
    },
    { withinMs: LOOP_MS, everyMs: 200 },
  )
  return run
}

/** Trains and waits for the verdict and what follows from it. @returns the run, and its version where there is one */
export async function train(
  installation: Installation,
  model: string,
  params: Record<string, string | number> = {},
): Promise<{ run: RunView; version: VersionView | null }> {
  const { api } = installation
  const { id } = await api.runs.start({ model, params, by: 'test' })
  const run = await settled(installation, id)
  return { run, version: run.outcome.version === null ? null : await api.versions.get({ ref: run.outcome.version }) }
}

/** Waits until this version, or any, answers the endpoint. */
export async function serving(
  { api }: Installation,
  endpoint: string,
  version?: string,
  withinMs = LOOP_MS,
): Promise<EndpointView> {
  return until(
    `${version ?? 'a version'} to answer '${endpoint}'`,
    async () => {
      const found = (await api.endpoints.list()).find((e) => e.name === endpoint)
      const live = found?.members.find((m) => m.weightPercent > 0)
      return found?.state === 'serving' && (version === undefined || live?.version === version) ? found : null
    },
    { withinMs, everyMs: 200 },
  )
}

/** An HTTP request as any client sends it. `path` goes out as it is. */
export async function request(url: string, body?: unknown, init: RequestInit = {}): Promise<Answer> {
  const sent =
    body === undefined ? {} : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }
  const response = await fetch(url, { signal: AbortSignal.timeout(COMMAND_MS), ...sent, ...init })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? null : (JSON.parse(text) as unknown),
  }
}

/** One prediction, which must be answered. */
export async function predict(url: string, inputs: unknown[]): Promise<Prediction> {
  const { status, headers, body } = await request(url, { inputs })
  if (status !== 200) throw new Error(`${url} answered ${status}: ${JSON.stringify(body)}`)
  const { model_version: version, outputs } = body as { model_version: string; outputs: { data: number[] }[] }
  return { id: headers.get('millrace-prediction-id')!, version, score: outputs.at(-1)!.data.at(-1)! }
}

export async function query({ api }: Installation, sql: string): Promise<unknown[][]> {
  const { rows }: QueryResult = await api.predictionLog.query({ sql })
  return rows
}

/**
 * Processes that carry this data directory's mark, whatever they are and whoever their parent is.
 * @returns their pids with their command lines
 */
export async function processesOf({ dataDir }: Installation): Promise<string[]> {
  if (process.platform !== 'linux') return (await findAll(dataDir)).map(String)
  const mark = `${INSTANCE_MARK}=${instanceOf(dataDir)}`
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const environ = readProc(pid, 'environ')
      return environ.split('\0').includes(mark) ? [`${pid} ${readProc(pid, 'cmdline').replaceAll('\0', ' ')}`] : []
    })
}

export function socketsOf({ dataDir, env }: Installation): string[] {
  return readdirSync(socketDir(dataDir, env)).filter((name) => name.endsWith('.sock'))
}

/** Empty for what has ended meanwhile, and for what belongs to others. */
function readProc(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return ''
  }
}

function lastLines(dir: string): string {
  if (!existsSync(dir)) return `there is no ${dir}`
  const names = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isFile())
  return names
    .map(({ name }) => [name, readFileSync(join(dir, name), 'utf8').trimEnd().split('\n').slice(-LOG_LINES)] as const)
    .map(([name, lines]) => `── ${name}\n${lines.map((line) => line.slice(0, 1_000)).join('\n')}`)
    .join('\n')
}
