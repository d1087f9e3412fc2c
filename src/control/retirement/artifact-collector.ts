import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isDigest, type KeptFile } from '../../kernel/artifacts/artifacts.ts'
import { reasonOf } from '../../kernel/errors.ts'
import { isMissing } from '../../kernel/runtime/system-error.ts'
import type { ControlContext } from '../control-context.ts'
import { notOurArtifacts } from './artifact-owner.ts'
import { liveArtifacts, type ArtifactUse } from './live-artifacts.ts'
import type { RunRetention } from './run-retention.ts'

export interface CollectorLimits {
  /**
   * What was put within so many ms of real time stays, as its digest may not be recorded yet: a large directory is put
   * file by file, and its row follows at the end.
   */
  graceMs: number
  /** Between the beginnings of two passes. What one finds unused the next removes, if it is so still. */
  everyMs: number
  /** Of one pass. */
  removalsMax: number
  /** That the next pass will know of; what is beyond takes a pass longer. */
  suspectsMax: number
}

const HOUR_MS = 3_600_000

export const COLLECTOR_LIMITS: CollectorLimits = {
  graceMs: 24 * HOUR_MS,
  everyMs: HOUR_MS,
  removalsMax: 5_000,
  suspectsMax: 100_000,
}

/** Of one look; then others have their turn. */
const SLICE_MS = 500
const AGAIN_MS = 100
const LISTED_MAX = 100

export interface Amount {
  files: number
  sizeBytes: number
}

/** What the artifacts of the data directory are for, as of now. */
export interface ArtifactsInUse {
  kept: ({ use: ArtifactUse } & Amount)[]
  unused: Amount
  /** The largest of them. `removableInMs`: not before, and not before two passes have found it so. */
  largest: { digest: string; sizeBytes: number; removableInMs: number }[]
  /** By this process. */
  removed: Amount
  /** Real time since the last pass ended; null: none has yet. */
  lastPassAgoMs: number | null
  /** Why nothing is removed; null: nothing is in the way. */
  refused: string | null
}

/**
 * Removes artifacts that nothing is made of: marks what rows name, and removes the rest. Three things keep what is about
 * to be recorded: the grace time since it was put, which putting again renews; that two passes must find it unused; and
 * that whoever records a digest without putting it renews it before. Killed anywhere, it begins again.
 */
export class ArtifactCollector {
  readonly #context: ControlContext
  readonly #retention: RunRetention
  readonly #limits: CollectorLimits
  #pass: AsyncGenerator<undefined, void> | null = null
  #beganMs: number
  #endedMs: number | null = null
  #refused: string | null = null
  /** What the last whole pass found unused and left. */
  #suspects: ReadonlySet<string> = new Set()
  readonly #checked = new Set<string>()
  readonly #removed: Amount = { files: 0, sizeBytes: 0 }
  #viewing: Promise<ArtifactsInUse> | null = null

  constructor(context: ControlContext, retention: RunRetention, limits: CollectorLimits = COLLECTOR_LIMITS) {
    this.#context = context
    this.#retention = retention
    this.#limits = limits
    this.#beganMs = Number.NEGATIVE_INFINITY
  }

  /** A part of a pass, where one is due. @returns when to go on, ms */
  async look(): Promise<number | void> {
    const { clock } = this.#context
    const nowMs = clock.monotonicMs()
    if (this.#pass === null) {
      if (nowMs - this.#beganMs < this.#limits.everyMs) return
      this.#beganMs = nowMs
      this.#pass = this.#collect()
    }
    try {
      do if ((await this.#pass.next()).done === true) return this.#end(null)
      while (clock.monotonicMs() - nowMs < SLICE_MS)
    } catch (error) {
      this.#end(reasonOf(error))
      throw error
    }
    return AGAIN_MS
  }

  #end(refused: string | null): void {
    this.#pass = null
    this.#endedMs = this.#context.clock.monotonicMs()
    if (refused !== null) {
      this.#refused = refused
      this.#suspects = new Set()
    }
  }

  async *#collect(): AsyncGenerator<undefined, void> {
    const { artifacts, log } = this.#context
    const { graceMs, removalsMax, suspectsMax } = this.#limits
    this.#refused = await notOurArtifacts(this.#context)
    if (this.#refused !== null) return log.warn({ why: this.#refused }, 'artifacts are not tidied')
    const live = yield* this.#live()
    const suspects = new Set<string>()
    const removed: Amount = { files: 0, sizeBytes: 0 }
    for await (const file of artifacts.list()) {
      yield
      if (live.has(file.digest)) continue
      const isDue = this.#suspects.has(file.digest) && file.ageMs >= graceMs && removed.files < removalsMax
      if (isDue && (await artifacts.remove(file.digest, { unusedForMs: graceMs })) !== 'recent') {
        add(removed, file)
        add(this.#removed, file)
      } else if (suspects.size < suspectsMax) suspects.add(file.digest)
    }
    this.#suspects = suspects
    await this.#forgetLayouts()
    if (removed.files > 0) log.info({ ...removed }, 'artifacts that nothing is made of were removed')
  }

  #live(): AsyncGenerator<undefined, Map<string, ArtifactUse>> {
    const { store, artifacts, clock } = this.#context
    return liveArtifacts({ db: store.db, artifacts }, this.#retention, clock.calendarMs(), this.#checked)
  }

  /** Folders that models in several files were laid out in, and what a crash left of making one. */
  async #forgetLayouts(): Promise<void> {
    const { artifacts, dataDir } = this.#context
    const root = join(dataDir, 'models')
    for (const name of await readdir(root).catch(noneIfMissing)) {
      const digest = `sha256:${name}`
      const isLeft = isDigest(digest)
        ? !(await artifacts.has(digest))
        : Date.now() - (await stat(join(root, name))).mtimeMs >= this.#limits.graceMs
      if (isLeft) await rm(join(root, name), { recursive: true, force: true })
    }
  }

  /** Counted anew, without removing anything; those who ask at the same time get the same answer. */
  view(): Promise<ArtifactsInUse> {
    this.#viewing ??= this.#count().finally(() => (this.#viewing = null))
    return this.#viewing
  }

  async #count(): Promise<ArtifactsInUse> {
    const { artifacts, clock } = this.#context
    const { live, refused } = await this.#liveOrWhy()
    const kept = new Map<ArtifactUse, Amount>()
    const unused: Amount = { files: 0, sizeBytes: 0 }
    let largest: KeptFile[] = []
    for await (const file of artifacts.list()) {
      const use = live?.get(file.digest)
      if (use === undefined) {
        add(unused, file)
        largest.push(file)
        if (largest.length >= 2 * LISTED_MAX) largest = largestOf(largest)
      } else kept.set(use, add(kept.get(use) ?? { files: 0, sizeBytes: 0 }, file))
    }
    const nowMs = clock.monotonicMs()
    return {
      kept: [...kept].map(([use, amount]) => ({ use, ...amount })).toSorted((a, b) => b.sizeBytes - a.sizeBytes),
      unused: live === null ? { files: 0, sizeBytes: 0 } : unused,
      largest: (live === null ? [] : largestOf(largest)).map(({ digest, sizeBytes, ageMs }) => ({
        digest,
        sizeBytes,
        removableInMs: Math.round(Math.max(0, this.#limits.graceMs - ageMs)),
      })),
      removed: { ...this.#removed },
      lastPassAgoMs: this.#endedMs === null ? null : Math.round(nowMs - this.#endedMs),
      refused,
    }
  }

  /** Where it can't be said what is in use, nothing is unused. */
  async #liveOrWhy(): Promise<{ live: Map<string, ArtifactUse> | null; refused: string | null }> {
    try {
      return { live: await allOf(this.#live()), refused: this.#refused }
    } catch (error) {
      return { live: null, refused: reasonOf(error) }
    }
  }
}

/** Runs it to its end. */
export async function allOf<T>(steps: AsyncGenerator<undefined, T>): Promise<T> {
  for (;;) {
    const step = await steps.next()
    if (step.done === true) return step.value
  }
}

const largestOf = (files: KeptFile[]) => files.toSorted((a, b) => b.sizeBytes - a.sizeBytes).slice(0, LISTED_MAX)

function add(amount: Amount, { sizeBytes }: { sizeBytes: number }): Amount {
  amount.files++
  amount.sizeBytes += sizeBytes
  return amount
}

function noneIfMissing(thrown: unknown): string[] {
  if (isMissing(thrown)) return []
  throw thrown
}
