import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type {
  GateView,
  QueryResult,
  Reconciliation,
  ReleaseView,
  RunSummary,
  RunView,
  VersionSummary,
} from '../../../src/surface/api/schemas.ts'
import { connectControlPlane, type ControlApi } from '../../../src/surface/client/control-plane.ts'

/** Everything that the demo says to Millrace's control plane, and how it starts and stops Millrace. */

export interface StartOptions {
  /** Folder with millrace.config.ts. */
  projectDir: string
  dataDir: string
  /** Of the gateway. */
  port: number
  /** Where the rehearsed calendar begins, ms since 1970. */
  calendarMs: number
  /** Takes what `millrace up` prints. */
  logPath: string
}

const CLI = resolve(import.meta.dirname, '../../../src/surface/cli/main.ts')
/** The first start makes the database. */
const READY_LIMIT_MS = 60_000
const STOP_LIMIT_MS = 30_000
const POLL_MS = 250
const WHO = 'demo'

export class DemoError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'DemoError'
  }
}

export class Millrace {
  readonly gatewayUrl: string
  private readonly api: ControlApi
  private readonly child: ChildProcess
  private readonly options: StartOptions
  private stopping: Promise<void> | null = null

  private constructor(options: StartOptions, child: ChildProcess) {
    this.options = options
    this.child = child
    this.gatewayUrl = `http://127.0.0.1:${options.port}`
    this.api = connectControlPlane({ dataDir: options.dataDir, waitMs: READY_LIMIT_MS }).api
  }

  /** Runs `millrace up` as a child process until its control plane and its gateway answer. */
  static async start(options: StartOptions): Promise<Millrace> {
    const millrace = new Millrace(options, spawnUp(options))
    try {
      await millrace.untilReady()
    } catch (error) {
      await millrace.stop()
      throw error
    }
    return millrace
  }

  /** True if a control plane already runs on this data directory, e.g. that of an earlier demo. */
  static async runsOn(dataDir: string): Promise<boolean> {
    const { api } = connectControlPlane({ dataDir })
    return api.clock.get().then(
      () => true,
      (error: unknown) => {
        if ((error as { code?: string }).code === 'MR_NOT_RUNNING') return false
        throw error
      },
    )
  }

  /** Stops everything that `up` has started, as Ctrl-C does. May be called again while it stops. */
  stop(): Promise<void> {
    this.stopping ??= this.stopOnce()
    return this.stopping
  }

  private async untilReady(): Promise<void> {
    await this.until('Millrace to be ready', READY_LIMIT_MS, async () => {
      const { processes } = await this.api.status.get()
      return processes.some(({ kind, state }) => kind === 'gateway' && state === 'running') ? true : null
    })
  }

  private async stopOnce(): Promise<void> {
    if (this.hasEnded()) return
    const ended = new Promise((end) => this.child.once('exit', end))
    this.child.kill('SIGINT')
    const inTime = await Promise.race([ended.then(() => true), sleep(STOP_LIMIT_MS, false, { ref: false })])
    if (!inTime) throw new DemoError(`Millrace did not stop within ${STOP_LIMIT_MS / 1000} s.\n${this.lastWords()}`)
  }

  /** `late-flight@1` and so on, oldest first. */
  async versions(model: string): Promise<VersionSummary[]> {
    const newestFirst = await this.api.versions.list({ model, limit: 1_000 })
    return newestFirst.toReversed()
  }

  gate(ref: string): Promise<GateView> {
    return this.api.gates.get({ ref })
  }

  releases(model: string): Promise<ReleaseView[]> {
    return this.api.releases.list({ model, limit: 1_000 })
  }

  train(model: string, why: string): Promise<RunSummary> {
    return this.api.runs.start({ model, why, by: WHO })
  }

  runs(model: string): Promise<RunSummary[]> {
    return this.api.runs.list({ model, limit: 1_000 })
  }

  /** The run with its steps and their progress. */
  run(id: string): Promise<RunView> {
    return this.api.runs.get({ id })
  }

  async setCalendar(calendarMs: number): Promise<void> {
    await this.api.clock.set({ calendarMs })
  }

  async holdCalendar(why: string): Promise<void> {
    await this.api.clock.hold({ by: WHO, why })
  }

  async releaseCalendar(): Promise<void> {
    await this.api.clock.release({ by: WHO })
  }

  reconciliation(): Promise<Reconciliation> {
    return this.api.predictionLog.status()
  }

  /** Rows of the lake. @throws DemoError if there are more than `limit` */
  async query(sql: string, limit: number): Promise<QueryResult> {
    const result = await this.api.predictionLog.query({ sql, limit })
    if (result.truncated) throw new DemoError(`The lake gave more than ${limit} rows for: ${sql}`)
    return result
  }

  /** Path of a version's model.onnx in the artifact store, where files are named by their digest. */
  async modelFile(ref: string): Promise<string> {
    const { artifacts } = await this.api.versions.get({ ref })
    const hex = artifacts.find(({ name }) => name === 'model')?.digest.replace('sha256:', '')
    if (hex === undefined) throw new DemoError(`${ref} has no artifact 'model'.`)
    return join(this.options.dataDir, 'artifacts', 'sha256', hex.slice(0, 2), hex)
  }

  /**
   * Asks again and again until there is an answer that isn't null.
   * @throws DemoError once `limitMs` have passed or Millrace has ended, with the last lines of its output
   */
  async until<T>(what: string, limitMs: number, ask: () => Promise<T | null>): Promise<T> {
    const endMs = performance.now() + limitMs
    for (;;) {
      if (this.hasEnded()) throw new DemoError(`Millrace ended while the demo waited for ${what}.\n${this.lastWords()}`)
      const answer = await ask()
      if (answer !== null) return answer
      if (performance.now() > endMs) {
        throw new DemoError(`Waited ${limitMs / 1000} s for ${what}, in vain.\n${this.lastWords()}`)
      }
      await sleep(POLL_MS)
    }
  }

  private hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  private lastWords(): string {
    const lines = readFileSync(this.options.logPath, 'utf8').trimEnd().split('\n').slice(-20)
    return `The end of ${this.options.logPath}:\n${lines.join('\n')}`
  }
}

function spawnUp(options: StartOptions): ChildProcess {
  const log = openSync(options.logPath, 'a')
  try {
    const rehearse = new Date(options.calendarMs).toISOString()
    const config = join(options.projectDir, 'millrace.config.ts')
    return spawn(
      process.execPath,
      [
        CLI,
        'up',
        '--config',
        config,
        '--data-dir',
        options.dataDir,
        '--port',
        String(options.port),
        '--rehearse',
        rehearse,
      ],
      {
        cwd: options.projectDir,
        stdio: ['ignore', log, log],
        // In a group of its own: Ctrl-C comes to the demo alone, which then stops Millrace once and waits for it.
        detached: true,
        // The training steps say `node`: that must be the one that runs this demo.
        env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` },
      },
    )
  } finally {
    closeSync(log)
  }
}
