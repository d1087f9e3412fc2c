import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import { limitLog } from '../runtime/log-limit.ts'
import { INSTANCE_MARK, PROCESS_MARK, PROCESS_TOKEN_MARK } from '../runtime/marks.ts'
import { exitOf, pidOf, type ExitStatus } from '../runtime/process/spawn-detached.ts'
import { errnoOf } from '../runtime/system-error.ts'
import { ServerStartError } from './errors.ts'
import type { ServerPlan } from './server-plan.ts'
import { v2Client, type V2Client } from './v2-client.ts'

/** A command under way that serves a model on a loopback port. */
export interface ServerProcess {
  readonly pid: number
  readonly httpPort: number
  /** Resolves when the command has ended, whoever ended it; never rejects. */
  readonly exited: Promise<ExitStatus>
  /** Whether it says at this moment that server and model are ready. Never throws. */
  isReady(): Promise<boolean>
  /**
   * Waits until it is ready. Meanwhile it may be stopped.
   * @throws ServerStartError when it ends before or needs too long
   */
  ready(): Promise<void>
  /** SIGTERM to its whole group, SIGKILL once `graceMs` are over. Resolves when it is gone; may be called again. */
  stop(graceMs: number): Promise<void>
}

const LOOK_MS = 100
const PROBE_TIMEOUT_MS = 2_000
/** The last one, too, is given the time to say why it is not ready. */
const PROBE_TIMEOUT_MIN_MS = 500
const LOG_LIMIT_BYTES = 10 * 1024 * 1024
const LOG_LOOK_MS = 1_000
const KILL_MS = 5_000

/** @throws SpawnError where there is no /bin/sh or no such folder */
export async function startServer(plan: ServerPlan): Promise<ServerProcess> {
  const [http, grpc, metrics] = await freePorts(3)
  mkdirSync(dirname(plan.logPath), { recursive: true, mode: 0o700 })
  const log = openSync(plan.logPath, 'a', 0o600)
  const env = serverEnvironment(plan, { http: http!, grpc: grpc!, metrics: metrics! }, process.env)
  try {
    const stdio: ['ignore', number, number] = ['ignore', log, log]
    const child = spawn('/bin/sh', ['-c', plan.command], { cwd: plan.cwd, env, detached: true, stdio })
    const exited = exitOf(child)
    return new RunningServer(plan, await pidOf(child, plan.command), http!, exited)
  } finally {
    closeSync(log)
  }
}

/**
 * What the command finds in its environment: everything but Millrace's own variables, the marks by which its processes
 * are found, and where to listen. Pure.
 */
export function serverEnvironment(
  plan: Pick<ServerPlan, 'env' | 'modelDir' | 'modelName' | 'version'>,
  ports: { http: number; grpc: number; metrics: number },
  own: NodeJS.ProcessEnv,
): Record<string, string> {
  const marks = new Set([INSTANCE_MARK, PROCESS_MARK, PROCESS_TOKEN_MARK])
  const inherited = Object.entries(own).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined &&
      (marks.has(entry[0]) || !entry[0].startsWith('MILLRACE_')) &&
      entry[0] !== 'NODE_COMPILE_CACHE',
  )
  return {
    ...Object.fromEntries(inherited),
    // The Node that Millrace runs on, for commands such as `node server.mjs` where no other is installed.
    PATH: [dirname(process.execPath), own['PATH'] ?? ''].filter(Boolean).join(delimiter),
    PYTHONUNBUFFERED: '1',
    ...plan.env,
    MILLRACE_MODEL_DIR: plan.modelDir,
    MILLRACE_MODEL_NAME: plan.modelName,
    MILLRACE_MODEL_VERSION: plan.version,
    PORT: String(ports.http),
    HTTP_PORT: String(ports.http),
    GRPC_PORT: String(ports.grpc),
    METRICS_PORT: String(ports.metrics),
    // MLServer reads its own names: `mlserver start "$MILLRACE_MODEL_DIR"` is all that it needs.
    MLSERVER_HOST: '127.0.0.1',
    MLSERVER_HTTP_PORT: String(ports.http),
    MLSERVER_GRPC_PORT: String(ports.grpc),
    MLSERVER_METRICS_PORT: String(ports.metrics),
  }
}

/** Held all at once, so that they differ. Somebody may still take one before the command does: then it is started again. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer()
      return new Promise<typeof server>((resolve, reject) => {
        server.once('error', reject)
        server.listen(0, '127.0.0.1', () => resolve(server))
      })
    }),
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

class RunningServer implements ServerProcess {
  readonly pid: number
  readonly httpPort: number
  readonly exited: Promise<ExitStatus>
  readonly #plan: ServerPlan
  readonly #client: V2Client
  #end: ExitStatus | null = null
  #stopping: Promise<void> | null = null

  constructor(plan: ServerPlan, pid: number, httpPort: number, exited: Promise<ExitStatus>) {
    this.#plan = plan
    this.pid = pid
    this.httpPort = httpPort
    this.exited = exited
    this.#client = v2Client(httpPort)
    const limiting = setInterval(() => void this.#limitLog(), LOG_LOOK_MS)
    limiting.unref()
    void exited.then((end) => {
      this.#end = end
      this.#client.close()
      clearInterval(limiting)
    })
  }

  async isReady(): Promise<boolean> {
    return (await this.#whyNotReady(PROBE_TIMEOUT_MS)) === null
  }

  async ready(): Promise<void> {
    const deadlineMs = performance.now() + this.#plan.readyTimeoutMs
    for (;;) {
      const leftMs = deadlineMs - performance.now()
      const why = await this.#whyNotReady(Math.max(PROBE_TIMEOUT_MIN_MS, Math.min(PROBE_TIMEOUT_MS, leftMs)))
      if (this.#end !== null) throw this.#failed(`it ended with ${describeEnd(this.#end)}`)
      if (why === null) return
      if (performance.now() >= deadlineMs)
        throw this.#failed(`${why}, ${this.#plan.readyTimeoutMs / 1_000} s after its start`)
      await sleep(LOOK_MS)
    }
  }

  async #whyNotReady(timeoutMs: number): Promise<string | null> {
    for (const path of ['/v2/health/ready', `/v2/models/${encodeURIComponent(this.#plan.modelName)}/ready`]) {
      try {
        const { status, body } = await this.#client.get(path, timeoutMs)
        if (status !== 200)
          return `GET ${path} is answered with ${status} ${body.toString('utf8').slice(0, 200)}`.trim()
      } catch (error) {
        return `GET ${path} fails: ${messageOf(error)}`
      }
    }
    return null
  }

  #failed(why: string): ServerStartError {
    const { command, logPath, role } = this.#plan
    return new ServerStartError(command, why, lastWords(logPath), role)
  }

  stop(graceMs: number): Promise<void> {
    return (this.#stopping ??= this.#stop(graceMs))
  }

  async #stop(graceMs: number): Promise<void> {
    signalGroup(this.pid, 'SIGTERM')
    const abort = new AbortController()
    const late = (ms: number) => sleep(ms, undefined, { signal: abort.signal }).catch(() => undefined)
    await Promise.race([this.exited, late(graceMs)])
    // Also when the command itself has ended: what it has started belongs to it.
    signalGroup(this.pid, 'SIGKILL')
    await Promise.race([this.exited, late(KILL_MS)])
    abort.abort()
  }

  async #limitLog(): Promise<void> {
    try {
      await limitLog(this.#plan.logPath, LOG_LIMIT_BYTES)
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error // somebody has removed the log: nothing grows then
    }
  }
}

function signalGroup(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH' && errnoOf(error) !== 'EPERM') throw error // gone already, or zombies alone
  }
}

export function describeEnd({ code, signal }: ExitStatus): string {
  return signal === null ? `exit status ${code}` : signal
}

const LAST_WORDS_BYTES = 1_000

/** The end of a log, on one line. */
function lastWords(path: string): string {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size === 0) return ''
  const fd = openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(Math.min(LAST_WORDS_BYTES, size))
    readSync(fd, buffer, 0, buffer.length, size - buffer.length)
    return buffer.toString('utf8').trim().split('\n').slice(-8).join(' | ')
  } finally {
    closeSync(fd)
  }
}
