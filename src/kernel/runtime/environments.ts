import { copyFileSync, existsSync, mkdirSync, rmSync, utimesSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { writeFileAtomic } from './atomic-file.ts'
import { asDataDirError } from './data-dir.ts'
import {
  environmentDigest,
  lockPath,
  packageJsonBeside,
  type EnvironmentWish,
  type LockedWish,
} from './environment-files.ts'
import { EnvironmentError } from './errors.ts'
import { findInterpreter } from './interpreter.ts'
import { tryProcessLock, type ProcessLock } from './process-lock.ts'
import { runLogged } from './process/run-logged.ts'
import { isMissing } from './system-error.ts'

export interface EnvironmentOptions {
  /** The project's folder; the lock's path is relative to it. */
  root: string
  cacheDir: string
  onLog: (text: string) => void
  /** For building, from start to end; also how long to wait for somebody else who builds the same. */
  timeoutMs?: number
  signal?: AbortSignal
}

export interface BuiltEnvironment {
  /** To be laid over the step's environment: PATH and what the interpreter needs. */
  env: Record<string, string>
  /** `sha256:…` of interpreter, platform and lock; null for `inherit`. */
  digest: string | null
  /** Whether the same lock gives the same packages again. */
  reproducible: boolean
  /** Folder to be linked as `node_modules` into the work directory, so that `import` finds packages; null for others. */
  nodeModules: string | null
}

const TIMEOUT_MS = 15 * 60_000
const WAIT_MS = 200

/** @throws EnvironmentError with the last lines of pip or npm; DataDirError */
export async function ensureEnvironment(wish: EnvironmentWish, options: EnvironmentOptions): Promise<BuiltEnvironment> {
  if (wish.kind === 'inherit') return { env: {}, digest: null, reproducible: false, nodeModules: null }
  const { path: interpreter, version } = await findInterpreter(wish, options.root)
  const digest = environmentDigest(wish, options.root, version)
  const dir = join(options.cacheDir, digest.replace('sha256:', '').slice(0, 32))
  if (!isStillThere(dir)) await buildOnce(wish, interpreter, dir, options)
  return { ...use(wish, interpreter, dir), digest, reproducible: true }
}

function isComplete(dir: string): boolean {
  return existsSync(join(dir, 'complete'))
}

/** Complete; its time then says that it was used just now, which `removeUnusedEnvironments` respects. */
function isStillThere(dir: string): boolean {
  const now = new Date()
  try {
    utimesSync(join(dir, 'complete'), now, now)
    return true
  } catch (thrown) {
    if (isMissing(thrown)) return false
    throw thrown
  }
}

/** Two that want the same environment at the same time: the second waits for the first. */
async function buildOnce(
  wish: LockedWish,
  interpreter: string,
  dir: string,
  options: EnvironmentOptions,
): Promise<void> {
  const deadline = performance.now() + (options.timeoutMs ?? TIMEOUT_MS)
  makeDir(dir)
  const lock = await waitForLock(wish, dir, deadline, options.signal)
  try {
    if (isComplete(dir)) return
    options.onLog(`Building the ${wish.kind} environment of ${wish.lock} (kept for the next runs)`)
    const timeoutMs = Math.max(1, deadline - performance.now())
    await build(wish, interpreter, dir, { ...options, timeoutMs })
    writeFileAtomic(join(dir, 'complete'), new Date().toISOString())
  } finally {
    lock.release()
  }
}

async function waitForLock(
  wish: LockedWish,
  dir: string,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<ProcessLock> {
  for (;;) {
    signal?.throwIfAborted()
    const attempt = await tryProcessLock(join(dir, 'lock'))
    if (attempt.kind === 'held') return attempt.lock
    if (performance.now() > deadline) {
      const who = attempt.holder === null ? 'another process' : `process ${attempt.holder.pid}`
      throw new EnvironmentError(`${wish.kind} environment`, `${who} is still building it`, 'Try again later.', true)
    }
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS))
  }
}

async function build(wish: LockedWish, interpreter: string, dir: string, options: EnvironmentOptions): Promise<void> {
  for (const ruin of ['venv', 'node_modules', 'build.log']) rmSync(join(dir, ruin), { recursive: true, force: true })
  const lock = lockPath(wish, options.root)
  if (wish.kind === 'node') {
    copyFileSync(lock, join(dir, 'package-lock.json'))
    copyFileSync(packageJsonBeside(lock), join(dir, 'package.json'))
    // npm beside the interpreter, so that scripts of packages run on the same one.
    const env = { PATH: pathWith(dirname(interpreter)) }
    return run(wish, ['npm', 'ci', '--no-audit', '--no-fund'], dir, env, options)
  }
  await run(wish, [interpreter, '-m', 'venv', join(dir, 'venv')], dir, {}, options)
  const pip = [join(dir, 'venv/bin/python'), '-m', 'pip', 'install', '--disable-pip-version-check', '--no-input']
  // From the lock's folder, since a lock may name files beside it.
  return run(wish, [...pip, '-r', lock], dir, {}, options, dirname(lock))
}

async function run(
  wish: LockedWish,
  command: readonly string[],
  dir: string,
  env: Record<string, string>,
  { onLog, timeoutMs = TIMEOUT_MS, signal }: EnvironmentOptions,
  cwd: string = dir,
): Promise<void> {
  const logPath = join(dir, 'build.log')
  const { code, timedOut, lastLines } = await runLogged({
    command,
    cwd,
    env,
    logPath,
    timeoutMs,
    signal,
    onLine: onLog,
  })
  if (code === 0) return
  const how = timedOut ? `took longer than ${Math.round(timeoutMs)} ms` : `ended with ${code}`
  const why = `'${command.slice(0, 4).join(' ')} …' ${how}: ${lastLines}`
  const fix = `Read '${logPath}', correct '${wish.lock}', and start the run again.`
  throw new EnvironmentError(`${wish.kind} environment of '${wish.lock}'`, why, fix, timedOut)
}

function use(wish: LockedWish, interpreter: string, dir: string): Pick<BuiltEnvironment, 'env' | 'nodeModules'> {
  if (wish.kind === 'python') {
    const venv = join(dir, 'venv')
    return { env: { VIRTUAL_ENV: venv, PATH: pathWith(join(venv, 'bin')), PYTHONNOUSERSITE: '1' }, nodeModules: null }
  }
  const nodeModules = join(dir, 'node_modules')
  const PATH = pathWith(join(nodeModules, '.bin'), dirname(interpreter))
  return { env: { PATH, NODE_PATH: nodeModules }, nodeModules }
}

function pathWith(...folders: string[]): string {
  return [...folders, process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin'].join(':')
}

function makeDir(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  } catch (thrown) {
    throw asDataDirError(thrown, dir)
  }
}
