import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { CanaryView } from '../../../src/surface/api/canary-schemas.ts'
import type { FreezeView } from '../../../src/surface/api/retirement-schemas.ts'
import type { EventView } from '../../../src/surface/api/event-schemas.ts'
import type { GateView } from '../../../src/surface/api/gate-schemas.ts'
import type { QueryResult, Reconciliation } from '../../../src/surface/api/prediction-log-schemas.ts'
import type { ReleaseView } from '../../../src/surface/api/release-schemas.ts'
import type { RunSummary, RunView } from '../../../src/surface/api/run-schemas.ts'
import type { VersionSummary } from '../../../src/surface/api/version-schemas.ts'
import type { BudgetView } from '../../../src/surface/api/service-level-schemas.ts'
import type { AlarmFacts } from './loop-facts.ts'
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
const POLL_MS = 200
const RECENT = 10
const EVENTS = 10_000
const WHO = 'demo'

const run = promisify(execFile)

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
      const { processes, triggers } = await this.api.status.get()
      const isUp = processes.some(({ kind, state }) => kind === 'gateway' && state === 'running')
      // Triggers know their next time once they have been looked at.
      return isUp && triggers.some(({ nextAtMs }) => nextAtMs !== null) ? true : null
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

  /** Newest first; older ones have come to an end long ago. */
  recentReleases(model: string): Promise<ReleaseView[]> {
    return this.api.releases.list({ model, limit: RECENT })
  }

  runs(model: string): Promise<RunSummary[]> {
    return this.api.runs.list({ model, limit: 1_000 })
  }

  /** Newest first; older ones have come to an end long ago. */
  recentRuns(model: string): Promise<RunSummary[]> {
    return this.api.runs.list({ model, limit: RECENT })
  }

  /** The newest release that is or was on trial; null: there has been none. */
  canary(endpoint: string): Promise<CanaryView | null> {
    return this.api.canaries.get({ endpoint }).catch((error: unknown) => {
      if ((error as { code?: string }).code === 'MR_NOTHING_TRIED') return null
      throw error
    })
  }

  freezes(model: string): Promise<FreezeView[]> {
    return this.api.freezes.list({ model, limit: 1_000 })
  }

  budgets(model: string): Promise<BudgetView[]> {
    return this.api.serviceLevels.budgets({ model })
  }

  /** What happened after an event, oldest first. */
  eventsAfter(seq: number): Promise<EventView[]> {
    return this.api.events.list({ afterSeq: seq, limit: EVENTS })
  }

  /** All of it, oldest first. */
  async events(): Promise<EventView[]> {
    const events: EventView[] = []
    for (;;) {
      const more = await this.eventsAfter(events.at(-1)?.seq ?? 0)
      events.push(...more)
      if (more.length < EVENTS) return events
    }
  }

  train(model: string, why: string): Promise<RunSummary> {
    return this.api.runs.start({ model, why, by: WHO })
  }

  /** Calendar times at which triggers will look for something to do. */
  async dueTimes(model: string): Promise<number[]> {
    const triggers = await this.api.triggers.list({ model })
    return triggers.flatMap(({ nextAtMs, state }) => (nextAtMs === null || state === 'paused' ? [] : [nextAtMs]))
  }

  /** Calendar time up to which requests have been judged by monitors; null: nothing is watched yet. */
  async monitoredUntil(model: string): Promise<number | null> {
    const monitors = await this.api.monitors.list({ model })
    const known = monitors.flatMap(({ judgedUntilMs }) => (judgedUntilMs === null ? [] : [judgedUntilMs]))
    return known.length === 0 ? null : Math.max(...known)
  }

  /** Alerts that came to an alarm, oldest first. */
  async alarms(model: string): Promise<AlarmFacts[]> {
    const alerts = await this.api.alerts.list({ model, all: true, limit: 1_000 })
    return alerts.toReversed().flatMap(({ firedAtMs, firedCalendarMs, ...alert }) => {
      if (firedAtMs === null || firedCalendarMs === null) return []
      const { id, version, source, subject, severity, why, figures, response, resolvedAtMs } = alert
      const about = { id, version, source, subject, severity, why, figures, response }
      return [{ ...about, firedAtMs, firedCalendarMs, resolvedAtMs }]
    })
  }

  /** The run with its steps and their progress. */
  run(id: string): Promise<RunView> {
    return this.api.runs.get({ id })
  }

  /** Reads the project's files again, as `millrace apply` does. */
  async apply(): Promise<void> {
    const { projectDir, dataDir } = this.options
    const args = ['apply', join(projectDir, 'millrace.config.ts'), '--data-dir', dataDir]
    await run(process.execPath, [CLI, ...args], { cwd: projectDir })
  }

  /** Forward; where the calendar has run on to a later time by itself, it stays there. */
  async setCalendar(calendarMs: number): Promise<void> {
    await this.api.clock.set({ calendarMs }).catch((error: unknown) => {
      if ((error as { code?: string }).code !== 'MR_CLOCK_BACKWARDS') throw error
    })
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
