import { join } from 'node:path'
import type { ModelConfig } from '../../config/project.ts'
import { reasonOf } from '../../kernel/errors.ts'
import { readDirOrNothing } from '../../kernel/lake/durable-files.ts'
import { manifestsDir } from '../../kernel/lake/lake-files.ts'
import type { ControlContext } from '../control-context.ts'
import type { BaselineProfile } from '../evaluation/baseline-profile.ts'
import type { Version } from '../registry/version.ts'
import { findVersion } from '../registry/version-store.ts'
import { decideCanary } from './decide-canary.ts'
import type { Release } from './release.ts'
import type { TrialJobInput, TrialJobOutput } from './trial-job.ts'
import { trialPlanOf, type Look, type TrialSeen } from './trial.ts'
import { runningTrials, saveLook, trialCounts, trialsOf, type TrialRow } from './trial-store.ts'

/** A look is written at most so often while it decides the same. */
const SAVE_EVERY_MS = 1_000
/** And kept as a row of its own so often, later ever more seldom: a hundredth of the time it has run. */
const KEEP_EVERY_MS = 10_000
/** The lake is read at most so often, later a sixtieth of the time that the trial has run, up to the longest. */
export const MEASURE_EVERY_MS = 1_000
export const MEASURE_EVERY_MAX_MS = 10_000
/** Between two control planes so much time counts at most, which is more than a restart takes. */
const UNWATCHED_MAX_MS = 60_000

export interface Health {
  /** Ready replicas; null: not known yet. */
  championReady: number | null
  challengerReady: number | null
}

/** What is known of one trial in this process; after a restart it is gathered anew. */
interface Watched {
  /** Elapsed time up to the anchor, and the anchor by the monotonic clock. */
  elapsedMs: number
  anchorMs: number
  savedMs: number
  keptMs: number
  counted: number
  countedMs: number
  downSinceMs: number | null
  figures: TrialJobOutput | null
  /** When the figures were known to be all that the lake holds, and the names of its manifests then. */
  figuresMs: number
  figuresOf: string
  triedMs: number
  measuring: boolean
  why: string | null
}

/**
 * Looks at the trial of a release: gathers counts and figures, asks, and keeps the answer. The lake is read by a job in
 * the background; a look never waits for it.
 */
export class TrialWatch {
  readonly #context: ControlContext
  readonly #measure: (input: TrialJobInput) => Promise<TrialJobOutput>
  readonly #watched = new Map<string, Watched>()
  /** Bins never change. */
  readonly #edges = new Map<string, number[] | null>()

  constructor(context: ControlContext, measure: (input: TrialJobInput) => Promise<TrialJobOutput>) {
    this.#context = context
    this.#measure = measure
  }

  /** Forgets trials that have ended. */
  async sweep(): Promise<void> {
    if (this.#watched.size === 0) return
    const running = new Set((await runningTrials(this.#context.store.db)).map(({ id }) => id))
    for (const id of this.#watched.keys()) if (!running.has(id)) this.#watched.delete(id)
  }

  /** @returns null where no trial of the release runs */
  async look(release: Release, model: ModelConfig, health: Health): Promise<{ row: TrialRow; look: Look } | null> {
    const { db } = this.#context.store
    const trials = await trialsOf(db, release.id)
    const row = trials.findLast((trial) => trial.status === 'running')
    if (row === undefined) return null
    const counts = await trialCounts(
      db,
      trials.map(({ id }) => id),
    )
    const watched = this.#watch(row)
    const nowMs = this.#context.clock.monotonicMs()
    const seen = trials.map((trial): TrialSeen => ({
      trial,
      elapsedMs: trial.id === row.id ? watched.elapsedMs + nowMs - watched.anchorMs : (trial.look?.elapsedMs ?? 0),
      challenger: counts(trial.id, trial.challengerId),
      champion: counts(trial.id, trial.championId),
      figures: watched.figures?.trials.find(({ trialId }) => trialId === trial.id) ?? null,
    }))
    const { elapsedMs } = seen.at(-1)!
    await this.#measureWhenDue(row, trials, model, watched, elapsedMs)
    this.#noteHealth(watched, seen.at(-1)!, health, nowMs)
    const look = decideCanary({
      plan: trialPlanOf(model),
      trials: seen,
      before: row.look,
      championReady: health.championReady,
      challengerDownMs: watched.downSinceMs === null ? 0 : nowMs - watched.downSinceMs,
      quietMs: nowMs - watched.countedMs,
      figuresAgeMs: watched.figures === null ? null : nowMs - watched.figuresMs,
      figuresWhy: watched.why,
      nowMs: this.#context.clock.epochMs(),
    })
    await this.#save(row, look, watched, nowMs)
    return { row: { ...row, look }, look }
  }

  /**
   * Time within this process is by the monotonic clock, which nobody can set; across restarts by the real one, within
   * bounds: set back it costs the time between, set forward it gives no more than a minute of soaking that nobody saw.
   */
  #watch(row: TrialRow): Watched {
    const known = this.#watched.get(row.id)
    if (known !== undefined) return known
    const { clock } = this.#context
    const anchorMs = clock.monotonicMs()
    const { elapsedMs, atMs } = row.look ?? { elapsedMs: 0, atMs: row.startedAtMs }
    const watched: Watched = {
      elapsedMs: elapsedMs + Math.max(0, Math.min(clock.epochMs() - atMs, UNWATCHED_MAX_MS)),
      anchorMs,
      savedMs: Number.NEGATIVE_INFINITY,
      keptMs: Number.NEGATIVE_INFINITY,
      counted: 0,
      countedMs: anchorMs,
      downSinceMs: null,
      figures: null,
      figuresMs: Number.NEGATIVE_INFINITY,
      figuresOf: '',
      triedMs: Number.NEGATIVE_INFINITY,
      measuring: false,
      why: null,
    }
    this.#watched.set(row.id, watched)
    return watched
  }

  #noteHealth(watched: Watched, { challenger, champion }: TrialSeen, health: Health, nowMs: number): void {
    const counted = challenger.requests + champion.requests
    if (counted !== watched.counted) watched.countedMs = nowMs
    watched.counted = counted
    if (health.challengerReady === 0) watched.downSinceMs ??= nowMs
    else watched.downSinceMs = null
  }

  /** The answer first, so that what follows from it can be redone; a person sees what it was decided by. */
  async #save(row: TrialRow, look: Look, watched: Watched, nowMs: number): Promise<void> {
    const changed = row.look?.decision !== look.decision || row.look.reason !== look.reason
    const keepEveryMs = Math.max(KEEP_EVERY_MS, look.elapsedMs / 100)
    const keep = changed || nowMs - watched.keptMs >= keepEveryMs
    if (!keep && nowMs - watched.savedMs < SAVE_EVERY_MS) return
    const { store, clock } = this.#context
    await store.transaction((tx) => saveLook(tx, row.id, look, { keep, calendarMs: clock.calendarMs() }))
    watched.savedMs = nowMs
    if (keep) watched.keptMs = nowMs
  }

  /** The lake is read again only when it holds something else than before. */
  async #measureWhenDue(
    row: TrialRow,
    trials: TrialRow[],
    model: ModelConfig,
    watched: Watched,
    elapsedMs: number,
  ): Promise<void> {
    const { clock, dataDir } = this.#context
    const everyMs = Math.min(MEASURE_EVERY_MAX_MS, Math.max(MEASURE_EVERY_MS, elapsedMs / 60))
    const startMs = clock.monotonicMs()
    if (watched.measuring || model.log.mode === 'off' || startMs - watched.triedMs < everyMs) return
    watched.triedMs = startMs
    const lakeDir = join(dataDir, 'lake')
    const lake = (await readDirOrNothing(manifestsDir(lakeDir))).toSorted().join(' ')
    if (watched.figures !== null && watched.why === null && lake === watched.figuresOf) {
      watched.figuresMs = startMs
      return
    }
    watched.measuring = true
    const { log } = this.#context
    void this.#job(row, trials, model, lakeDir)
      .then((figures) => {
        Object.assign(watched, { figures, figuresMs: startMs, figuresOf: lake, why: null })
      })
      .catch((error: unknown) => {
        if (watched.why === null) log.warn({ trial: row.id, err: error }, 'a trial could not be measured in the lake')
        watched.why = reasonOf(error)
      })
      .finally(() => {
        watched.measuring = false
        // Not sooner after a job that took long: it must not take all of a processor.
        watched.triedMs = Math.max(watched.triedMs, 2 * clock.monotonicMs() - startMs - everyMs)
        this.#context.wake('release')
      })
  }

  async #job(row: TrialRow, trials: TrialRow[], model: ModelConfig, lakeDir: string): Promise<TrialJobOutput> {
    const { db } = this.#context.store
    const [challenger, champion] = [await findVersion(db, row.challengerId), await findVersion(db, row.championId)]
    return this.#measure({
      lakeDir,
      model: model.name,
      fromDay: dayBefore(Math.min(this.#context.clock.calendarMs(), ...trials.map((t) => t.startedCalendarMs))),
      trials: trials.map(({ id, kind }) => ({ id, kind })),
      challenger: armOf(challenger!),
      champion: armOf(champion!),
      edges: (await this.#edgesOf(champion!)) ?? (await this.#edgesOf(challenger!)),
      labels: model.task === null ? null : { task: model.task, positive: model.positive, loss: model.gate.loss },
    })
  }

  /** Of the bins in which its baseline profile counts predictions; null: it has none. */
  async #edgesOf({ id, profileDigest }: Version): Promise<number[] | null> {
    const known = this.#edges.get(id)
    if (known !== undefined) return known
    let edges: number[] | null = null
    if (profileDigest !== null) {
      const text = Buffer.from(await this.#context.artifacts.readBytes(profileDigest)).toString()
      edges = (JSON.parse(text) as BaselineProfile).prediction.edges
    }
    if (this.#edges.size >= EDGES_MAX) this.#edges.clear()
    this.#edges.set(id, edges)
    return edges
  }
}

const EDGES_MAX = 100
const DAY_MS = 86_400_000

/** A day of margin, for a calendar that is set while the trial runs. */
const dayBefore = (calendarMs: number): string => new Date(calendarMs - DAY_MS).toISOString().split('T')[0]!

function armOf(version: Version): TrialJobInput['challenger'] {
  // Served versions have been opened.
  return { version: String(version.number), score: version.scoreOutput, signature: version.signature! }
}
