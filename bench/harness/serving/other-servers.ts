import { execFile } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { messageOf } from '../../../src/kernel/errors.ts'
import { packageRoot } from '../package.ts'
import type { DataPlane, RunningProcess } from './data-plane.ts'
import { inferPath } from './data-plane.ts'
import type { ServedModel } from './models.ts'
import { freePort } from './nginx.ts'
import { commandPath, killGroup, spawnPinned, stop } from './pinned.ts'

/** Servers of others, each in a virtual environment of its own in the bench's cache. */
export interface OtherServer {
  name: string
  /** What pip installs beside onnxruntime. */
  packages: string[]
  /** The command in the virtual environment, with its arguments; bench/servers is its folder. */
  command: (where: { bin: string; port: number; dir: string }) => string[]
}

const SERVERS = join(packageRoot, 'bench', 'servers')
/** Several clones may share one: what is in it is not installed again. */
const CACHE = process.env['MILLRACE_BENCH_SERVERS'] ?? join(packageRoot, 'node_modules', '.cache', 'bench-servers')
/** Downloads and compilation take turns. */
const INSTALLS_AT_ONCE = 3
const INSTALL_WITHIN_MS = 15 * 60_000
const ANSWERS_WITHIN_MS = 90_000

const script =
  (file: string): OtherServer['command'] =>
  ({ bin }) => [join(bin, 'python'), join(SERVERS, file)]

export const otherServers: OtherServer[] = [
  { name: 'MLServer', packages: ['mlserver'], command: mlserver },
  {
    name: 'BentoML',
    packages: ['bentoml'],
    command: ({ bin, port }) => [
      join(bin, 'bentoml'),
      'serve',
      'bentoml_service:Small',
      '--working-dir',
      SERVERS,
      '--port',
      String(port),
    ],
  },
  { name: 'LitServe', packages: ['litserve'], command: script('litserve_server.py') },
  { name: 'KServe', packages: ['kserve'], command: script('kserve_server.py') },
  { name: 'Triton', packages: ['nvidia-pytriton'], command: script('triton_server.py') },
]

/** It wants a folder with its settings and those of the model. */
function mlserver({ bin, port, dir }: { bin: string; port: number; dir: string }): string[] {
  const folder = join(dir, 'mlserver')
  mkdirSync(folder, { recursive: true })
  const settings = { http_port: port, grpc_port: 0, metrics_endpoint: null, debug: false }
  writeFileSync(join(folder, 'settings.json'), JSON.stringify({ ...settings, parallel_workers: 0 }))
  writeFileSync(
    join(folder, 'model-settings.json'),
    JSON.stringify({ name: 'small', implementation: 'mlserver_runtime.Small' }),
  )
  return [join(bin, 'mlserver'), 'start', folder]
}

export interface RunningOther extends RunningProcess {
  name: string
  version: string
  port: number
}

const run = promisify(execFile)

/** Its commands are in `bin`. */
export interface InstalledServer extends OtherServer {
  bin: string
}

/** @returns those that are there now; why another is not was told */
export async function installOthers(note: (text: string) => void): Promise<InstalledServer[]> {
  const waiting = [...otherServers]
  const installed = new Map<string, InstalledServer>()
  const installNext = async (): Promise<void> => {
    for (let server = waiting.shift(); server !== undefined; server = waiting.shift()) {
      try {
        installed.set(server.name, { ...server, bin: await install(server) })
      } catch (error) {
        note(`skipped: ${server.name} can't be installed: ${messageOf(error).slice(-600)}`)
      }
    }
  }
  await Promise.all(Array.from({ length: INSTALLS_AT_ONCE }, installNext))
  return otherServers.flatMap(({ name }) => installed.get(name) ?? [])
}

/**
 * Starts it, and waits for its first right answer.
 * @returns null: it does not answer, as was told
 */
export async function startOther(
  plane: DataPlane,
  server: InstalledServer,
  model: ServedModel,
  cores: string,
  note: (text: string) => void,
): Promise<RunningOther | null> {
  try {
    const { bin } = server
    const port = await freePort()
    const log = join(plane.dir, `${server.name}.log`)
    const [command = '', ...args] = server.command({ bin, port, dir: plane.dir })
    const child = spawnPinned(cores, command, args, {
      cwd: plane.dir,
      detached: true, // a group of its own, as most of them start processes that outlive them
      stdio: ['ignore', openSync(log, 'a'), openSync(log, 'a')],
      env: {
        ...process.env,
        BENCH_PORT: String(port),
        BENCH_MODEL: model.path,
        PYTHONPATH: SERVERS,
        PYTHONDONTWRITEBYTECODE: '1',
        OMP_NUM_THREADS: '1',
      },
    })
    const running = plane.keep({ name: server.name, version: '', port, pid: child.pid!, stop: () => stopAll(child) })
    await untilItAnswers(port, model, () => child.exitCode !== null, log)
    return { ...running, version: await versionOf(bin, server.packages[0]!) }
  } catch (error) {
    note(`skipped: ${server.name}: ${messageOf(error).slice(-600)}`)
    return null
  }
}

/** Itself, then what it left behind. */
async function stopAll(child: ChildProcess): Promise<void> {
  await stop(child)
  killGroup(child)
}

/** @returns the folder of its commands */
async function install({ name, packages }: OtherServer): Promise<string> {
  const folder = join(CACHE, name.toLowerCase())
  const bin = join(folder, 'bin')
  const done = join(folder, '.installed')
  if (existsSync(done)) return bin
  // The system's own before others: Triton's backend embeds the system's library of it.
  const python = commandPath('/usr/bin/python3') ?? commandPath('python3')
  if (python === null) throw new Error('there is no python3')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(CACHE, { recursive: true })
  await run(python, ['-m', 'venv', folder])
  const args = ['install', '--quiet', '--disable-pip-version-check', ...packages, 'onnxruntime', 'numpy']
  await run(join(bin, 'pip'), args, { timeout: INSTALL_WITHIN_MS, maxBuffer: 64 * 1024 * 1024 })
  writeFileSync(done, '')
  return bin
}

async function versionOf(bin: string, name: string): Promise<string> {
  const { stdout } = await run(join(bin, 'python'), [
    '-c',
    `import importlib.metadata as m; print(m.version(${JSON.stringify(name)}))`,
  ])
  return stdout.trim()
}

async function untilItAnswers(port: number, model: ServedModel, hasEnded: () => boolean, log: string): Promise<void> {
  const giveUpAtMs = performance.now() + ANSWERS_WITHIN_MS
  let why = 'it did not listen'
  while (performance.now() < giveUpAtMs && !hasEnded()) {
    try {
      const answer = await fetch(`http://127.0.0.1:${port}${inferPath(model)}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: model.body,
        signal: AbortSignal.timeout(5_000),
      })
      const text = await answer.text()
      if (answer.status === 200 && text.includes('"outputs"')) return
      why = `${answer.status} ${text.slice(0, 300)}`
    } catch {
      // it isn't there yet
    }
    await sleep(200)
  }
  throw new Error(`no answer (${why}); its last words: ${readFileSync(log, 'utf8').slice(-400)}`)
}
