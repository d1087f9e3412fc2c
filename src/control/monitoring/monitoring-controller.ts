import { join } from 'node:path'
import type { ModelConfig } from '../../config/project.ts'
import { newestNumber } from '../../kernel/lake/manifest.ts'
import type { ControlContext } from '../control-context.ts'
import { Arrival } from './arrival.ts'
import { forgetOldAlerts } from './alert-store.ts'
import { forgetBuckets, observedManifest, recordObservation, recordQuality } from './histogram-store.ts'
import { judge, windowsOf } from './judge.ts'
import { monitorStates } from './monitor-store.ts'
import { DAY_MS, HOUR_MS, type Observation, type ObserveInput } from './observation.ts'
import { qualityQuestions, versionsToObserve } from './questions.ts'
import { respond } from './respond.ts'
import { Subjects, type Subject } from './subject.ts'
import { tidy } from './tidy.ts'
import { RIPENESS } from './windows.ts'

export interface MonitoringJobs {
  observe(input: ObserveInput): Promise<Observation>
  /** Moves what is sealed now from the spool into the lake. */
  flushLake(): Promise<void>
}

/** Not more often than this while no window is due: each job costs the start of a process. */
const OBSERVE_EVERY_MS = 2_000
/** How often quality is measured again for people, while no window is due. */
const QUALITY_EVERY_MS = 60_000
const FLUSH_EVERY_MS = 500
/** Waits after a failure: doubled each time, at most so long. */
const RETRY_MAX_MS = 60_000
/** Rows that so many tries over so long could not count are left out, loudly: monitors must not stand still for ever. */
const GIVE_UP_TRIES = 10
const GIVE_UP_MS = 10 * 60_000
const FORGET_EVERY_MS = 60_000
/** The longest time between two looks at everything, while neither the lake nor the calendar's hour moves. */
const LOOK_AT_ALL_MS = 5_000
/** Calendar; longer where a window and its label delay are. */
export const KEEP_BUCKETS_MS = 90 * DAY_MS

/**
 * Counts what was served and judges it:
 *
 *   mark the time ─▶ lake has news, or a window is over ─▶ job `observe` ─▶ histogram + watermark (one transaction)
 *   ─▶ windows that are over and whose rows have arrived ─▶ verdicts, alerts (one transaction each) ─▶ responses
 *
 * Killed anywhere it goes on where the rows say: what was counted is not counted again, what was judged not judged.
 */
export class MonitoringController {
  readonly #context: ControlContext
  readonly #jobs: MonitoringJobs
  readonly #arrival: Arrival
  readonly #subjects: Subjects
  readonly #lakeDir: string
  #busy: Promise<void> | null = null
  #flushing: Promise<void> | null = null
  #observedAtMs = Number.NEGATIVE_INFINITY
  #qualityAtMs = Number.NEGATIVE_INFINITY
  #flushedAtMs = Number.NEGATIVE_INFINITY
  #forgotAtMs = Number.NEGATIVE_INFINITY
  /** What the last look at everything saw, if nothing was left to do. */
  #done: { of: string; atMs: number } | null = null
  #failures: { tries: number; retryAtMs: number } | null = null
  /** Of the job that counts, in a row. */
  #uncounted: { tries: number; sinceMs: number } | null = null

  constructor(context: ControlContext, jobs: MonitoringJobs) {
    this.#context = context
    this.#jobs = jobs
    this.#arrival = new Arrival(context.clock, join(context.dataDir, 'spool'))
    this.#subjects = new Subjects(context.store, context.artifacts)
    this.#lakeDir = join(context.dataDir, 'lake')
  }

  /** Notes the time, and begins to observe where nothing is under way; does not wait for it. */
  async look(): Promise<void> {
    this.#arrival.mark()
    if (this.#busy !== null || this.#context.diskLow()) return
    this.#busy = this.#work().finally(() => (this.#busy = null))
  }

  /** Until what the last look began is done. */
  async idle(): Promise<void> {
    await this.#busy
    await this.#flushing
  }

  async #work(): Promise<void> {
    const { clock, log } = this.#context
    const nowMs = clock.monotonicMs()
    if (this.#failures !== null && nowMs < this.#failures.retryAtMs) return
    try {
      await this.#observeAndJudge()
      this.#failures = null
    } catch (error) {
      const tries = (this.#failures?.tries ?? 0) + 1
      const againInMs = Math.min(RETRY_MAX_MS, 500 * 2 ** tries)
      this.#failures = { tries, retryAtMs: nowMs + againInMs }
      log.warn({ err: error, tries, againInMs }, 'monitoring failed and is tried again')
      await this.#giveUp()
    }
  }

  async #observeAndJudge(): Promise<void> {
    const { store, clock } = this.#context
    const { arrivedMs, settledMs } = await this.#arrival.look()
    const seen = await this.#seen(arrivedMs, settledMs)
    const nowMs = clock.monotonicMs()
    if (this.#done?.of === seen && nowMs - this.#done.atMs < LOOK_AT_ALL_MS) return
    const models = this.#context.project()?.project.models ?? []
    const { subjects, unread, failed } = await this.#championsOf(models)
    const due = arrivedMs !== null && (await this.#isDue(subjects, arrivedMs))
    const isCounted = await this.#observe(subjects, arrivedMs, due)
    if (arrivedMs !== null && isCounted) failed.push(...(await this.#judge(subjects, arrivedMs)))
    const isWaiting = !due && settledMs !== null && (await this.#isDue(subjects, settledMs))
    if (isWaiting) this.#flush()
    await tidy(store, clock, models, { subjects, unread })
    if (await respond(store, clock, models, subjects)) this.#context.wake('release')
    await this.#forget(models)
    if (failed.length > 0) throw failed[0]
    this.#done = isCounted && !isWaiting ? { of: seen, atMs: nowMs } : null
  }

  /** What makes a look worth while at once: rows, a revision, or an hour of the calendar, as no window is shorter. */
  async #seen(arrivedMs: number | null, settledMs: number | null): Promise<string> {
    const hourOf = (ms: number | null) => (ms === null ? null : Math.floor(ms / HOUR_MS))
    const revision = this.#context.project()?.revisionId ?? null
    return JSON.stringify([await newestNumber(this.#lakeDir), revision, hourOf(arrivedMs), hourOf(settledMs)])
  }

  /** One whose profile can't be read is not the others' trouble, and its alarms stay as they are. */
  async #championsOf(models: ModelConfig[]) {
    const subjects = new Map<string, Subject>()
    const unread = new Set<string>()
    const failed: unknown[] = []
    for (const model of models) {
      try {
        const subject = await this.#subjects.of(model)
        if (subject !== null) subjects.set(model.name, subject)
      } catch (error) {
        unread.add(model.name)
        failed.push(error)
      }
    }
    return { subjects, unread, failed }
  }

  /** One model's trouble is not the others'. @returns what was thrown */
  async #judge(subjects: ReadonlyMap<string, Subject>, arrivedMs: number): Promise<unknown[]> {
    const { store, clock } = this.#context
    const failed: unknown[] = []
    for (const subject of subjects.values())
      await judge(store, clock, subject, arrivedMs).catch((error: unknown) => failed.push(error))
    return failed
  }

  /** Whether a window could be judged if all before `arrivedMs` were counted. */
  async #isDue(subjects: ReadonlyMap<string, Subject>, arrivedMs: number): Promise<boolean> {
    const states = await monitorStates(this.#context.store.db)
    return [...subjects.values()].some((subject) =>
      subject.model.monitors.monitors
        .filter((monitor) => RIPENESS[monitor.name] !== 'level')
        .some((monitor) => {
          const state = states.find(
            (s) => s.model === subject.model.name && s.monitor === monitor.name && s.subject === '',
          )
          return windowsOf(subject, monitor, state ?? null, arrivedMs).windows.length > 0
        }),
    )
  }

  /** @returns whether all that is in the lake is counted */
  async #observe(subjects: ReadonlyMap<string, Subject>, arrivedMs: number | null, due: boolean): Promise<boolean> {
    const { store, clock, artifacts } = this.#context
    const afterManifest = await observedManifest(store.db)
    const isNews = (await newestNumber(this.#lakeDir)) > afterManifest
    const nowMs = clock.monotonicMs()
    if (isNews && !due && nowMs - this.#observedAtMs < OBSERVE_EVERY_MS) return false
    const isQualityDue = due || (isNews && nowMs - this.#qualityAtMs >= QUALITY_EVERY_MS)
    const states = await monitorStates(store.db)
    const quality =
      isQualityDue && arrivedMs !== null ? qualityQuestions([...subjects.values()], states, arrivedMs) : []
    if (!isNews && quality.length === 0) return true
    const versions = await versionsToObserve(store.db, artifacts, [...subjects.values()])
    const seen = await this.#count({ lakeDir: this.#lakeDir, afterManifest, versions, quality })
    this.#observedAtMs = clock.monotonicMs()
    if (quality.length > 0) this.#qualityAtMs = this.#observedAtMs
    return store.transaction(async (tx) => {
      await recordQuality(tx, seen.quality)
      return recordObservation(tx, afterManifest, seen)
    })
  }

  async #count(input: ObserveInput): Promise<Observation> {
    try {
      const seen = await this.#jobs.observe(input)
      this.#uncounted = null
      return seen
    } catch (error) {
      const { tries, sinceMs } = this.#uncounted ?? { tries: 0, sinceMs: this.#context.clock.monotonicMs() }
      this.#uncounted = { tries: tries + 1, sinceMs }
      throw error
    }
  }

  /** Brings what the next window waits for into the lake, without waiting for it here. */
  #flush(): void {
    const { clock, log } = this.#context
    if (clock.monotonicMs() - this.#flushedAtMs < FLUSH_EVERY_MS) return
    this.#flushedAtMs = clock.monotonicMs()
    this.#flushing = this.#jobs
      .flushLake()
      .catch((error: unknown) => log.warn({ err: error }, 'the spool could not be moved'))
  }

  /** Only of what the job itself has failed at: a judge's or the database's trouble costs no rows. */
  async #giveUp(): Promise<void> {
    const { store, clock, log } = this.#context
    if (this.#uncounted === null || this.#uncounted.tries < GIVE_UP_TRIES) return
    if (clock.monotonicMs() - this.#uncounted.sinceMs < GIVE_UP_MS) return
    try {
      const afterManifest = await observedManifest(store.db)
      const manifest = await newestNumber(this.#lakeDir)
      if (manifest === afterManifest) return
      await store.transaction((tx) => recordObservation(tx, afterManifest, { manifest, buckets: [] }))
      this.#uncounted = null
      log.error({ afterManifest, manifest }, 'rows of the lake could not be counted and are left out of all monitors')
    } catch (error) {
      log.warn({ err: error }, 'monitoring can not go on')
    }
  }

  async #forget(models: ModelConfig[]): Promise<void> {
    const { store, clock } = this.#context
    if (clock.monotonicMs() - this.#forgotAtMs < FORGET_EVERY_MS) return
    this.#forgotAtMs = clock.monotonicMs()
    const needed = models.map(({ monitors }) => 2 * monitors.windowMs + monitors.labelDelayMs)
    const keepMs = Math.max(KEEP_BUCKETS_MS, ...needed)
    await store.transaction(async (tx) => {
      await forgetBuckets(tx, Math.round(clock.calendarMs()) - keepMs)
      await forgetOldAlerts(tx)
    })
  }
}
