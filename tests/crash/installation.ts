import { fork, spawn, type ChildProcess } from 'node:child_process'
import { createWriteStream, readFileSync, readdirSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { INSTANCE_MARK } from '../../src/kernel/runtime/marks.ts'
import { isAlive, readProcessRecords, type ProcessRecord } from '../../src/kernel/runtime/process-record.ts'
import { instanceOf, socketDir } from '../../src/kernel/runtime/socket-dir.ts'
import { connectControlPlane, type ControlApi } from '../../src/surface/client/control-plane.ts'
import { prepareDatabase } from '../../src/testing/prepared-database.ts'
import type { TestProject } from './project.ts'
import { nowMs, until } from './until.ts'

const CLI = resolve(import.meta.dirname, '../../src/surface/cli/main.ts')
const CALL_WAIT_MS = 60_000

/** One Millrace, run by its command line as a person would, on a data directory of its own. */
export class Installation {
  readonly dataDir: string
  readonly port: number
  /** Waits for a control plane that is being started again. */
  readonly api: ControlApi
  /** Does not wait. */
  readonly impatientApi: ControlApi
  private readonly project: TestProject
  private supervisor: ChildProcess | null = null
  private readonly guard: ChildProcess

  private constructor(project: TestProject, port: number) {
    this.project = project
    this.dataDir = project.dataDir
    this.port = port
    this.api = connectControlPlane({ dataDir: this.dataDir, waitMs: CALL_WAIT_MS }).api
    this.impatientApi = connectControlPlane({ dataDir: this.dataDir }).api
    this.guard = fork(join(import.meta.dirname, 'guard.ts'), [this.dataDir], { execArgv: [], env: ownEnvironment() })
  }

  /** @returns before anything is started */
  static async prepare(project: TestProject): Promise<Installation> {
    await prepareDatabase(project.dataDir)
    return new Installation(project, await freePort())
  }

  /** `millrace up`, until the supervisor says that all is ready. @returns how long that took, in ms */
  async up(): Promise<number> {
    const startMs = nowMs()
    const port = String(this.port)
    const child = this.run('up', '--json', '--config', this.project.configPath, '--port', port)
    this.supervisor = child
    let isReady = false
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (line.includes('"all-ready"')) isReady = true
    })
    await until('Millrace to be up', () => {
      if (child.exitCode !== null) throw new Error(`'millrace up' ended with ${child.exitCode}: see ${this.logPath}`)
      return isReady
    })
    return nowMs() - startMs
  }

  /** `millrace down`, until it has ended. */
  async down(): Promise<void> {
    const child = this.run('down')
    await until("'millrace down' to end", () => child.exitCode !== null || child.signalCode !== null)
    if (child.exitCode !== 0) throw new Error(`'millrace down' ended with ${child.exitCode}: see ${this.logPath}`)
    const { supervisor } = this
    if (supervisor !== null) await until('the supervisor to end', () => hasEnded(supervisor))
  }

  /** When all is stopped. */
  dismissGuard(): void {
    this.guard.kill()
  }

  /** SIGKILL to the process that this one has started. */
  async killSupervisor(): Promise<void> {
    const { supervisor } = this
    if (supervisor === null || hasEnded(supervisor)) throw new Error('There is no supervisor to be killed.')
    supervisor.kill('SIGKILL')
    await until('the supervisor to be gone', () => hasEnded(supervisor))
  }

  /** What the records say that runs, and does. */
  living(role: ProcessRecord['role']): ProcessRecord[] {
    return readProcessRecords(this.dataDir).filter((record) => record.role === role && isAlive(record))
  }

  /** The kind of work of a job's process, e.g. `evaluate`; null when it is gone. */
  jobKind(record: ProcessRecord): string | null {
    const words = readOfProcess(record.pid, 'cmdline')
    const entry = words.findIndex((word) => /[/\\]job\.[jt]s$/.test(word))
    return entry < 0 ? null : (words[entry + 1] ?? null)
  }

  /** What a process was started with; empty when it is gone. */
  environmentOf(pid: number): Record<string, string> {
    const entries = readOfProcess(pid, 'environ').map((entry): [string, string] => {
      const equals = entry.indexOf('=')
      return [entry.slice(0, equals), entry.slice(equals + 1)]
    })
    return Object.fromEntries(entries)
  }

  deploymentOf(replicaId: string): string {
    const options = JSON.parse(readFileSync(join(this.dataDir, 'replicas', `${replicaId}.json`), 'utf8')) as object
    return (options as { deploymentId: string }).deploymentId
  }

  /** Every process of the machine that was started for this data directory, by its environment, with its command. */
  orphans(): string[] {
    const mark = instanceOf(this.dataDir)
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => this.environmentOf(pid)[INSTANCE_MARK] === mark)
      .map((pid) => `${pid} ${readOfProcess(pid, 'cmdline').join(' ')}`)
  }

  sockets(): string[] {
    return readdirSync(socketDir(this.dataDir)).filter((name) => name.endsWith('.sock'))
  }

  /** Records of processes, alive or not: a stopped Millrace has none. */
  records(): string[] {
    return readProcessRecords(this.dataDir).map(({ id }) => id)
  }

  private get logPath(): string {
    return `${this.dataDir}.log`
  }

  private run(...args: string[]): ChildProcess {
    const child = spawn(process.execPath, [CLI, ...args, '--data-dir', this.dataDir], {
      cwd: this.project.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: ownEnvironment(),
    })
    const log = createWriteStream(this.logPath, { flags: 'a' })
    child.stdout.pipe(log, { end: false })
    child.stderr.pipe(log, { end: false })
    return child
  }
}

/** Without what the test runner has added for itself. */
function ownEnvironment(): Record<string, string> {
  const foreign = /^(VITEST|NODE_OPTIONS|NODE_ENV|MILLRACE_|TEST$|MODE$|DEV$|PROD$)/
  const entries = Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return Object.fromEntries(entries.filter(([name]) => !foreign.test(name)))
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

/** The parts between zero bytes; empty for a process that is gone or belongs to somebody else. */
function readOfProcess(pid: number, file: 'cmdline' | 'environ'): string[] {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8').split('\0').filter(Boolean)
  } catch {
    return []
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  await new Promise((closed) => server.close(closed))
  return port
}
