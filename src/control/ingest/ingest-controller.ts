import { join } from 'node:path'
import { reasonOf } from '../../kernel/errors.ts'
import type { IngestInput, IngestReport } from '../../kernel/lake/ingest.ts'
import { listInstances, listSegments } from '../../kernel/lake/spool-files.ts'
import type { ControlContext } from '../control-context.ts'
import { observedManifest } from '../monitoring/histogram-store.ts'
import { runningTrials } from '../release/trial-store.ts'

/** Not more often than this while there is little to move: each job costs the start of a process. */
const EVERY_MS = 10_000
/** While a trial runs, which waits for predictions and labels; later ever more seldom, as its looks at the lake are. */
const TRIAL_EVERY_MS = 1_000
/** With so many sealed segments it does not wait. */
const AT_ONCE_SEGMENTS = 16

/** Has sealed segments of the spool moved into the lake, one job at a time. The job itself makes it exactly once. */
export class IngestController {
  readonly #context: ControlContext
  readonly #ingest: (input: IngestInput) => Promise<IngestReport>
  #lastEndMs = Number.NEGATIVE_INFINITY
  #busy: Promise<void> | null = null
  #failed = false
  #failing: string | null = null

  constructor(context: ControlContext, ingest: (input: IngestInput) => Promise<IngestReport>) {
    this.#context = context
    this.#ingest = ingest
  }

  /** Why the last try failed; null: it did not, or there was none. */
  get failing(): string | null {
    return this.#failing
  }

  async look(): Promise<void> {
    if (this.#busy !== null) return
    const sealed = await this.#sealedSegments()
    if (sealed === 0) return
    const everyMs = await this.#everyMs()
    const waitedMs = this.#context.clock.monotonicMs() - this.#lastEndMs
    // Somebody may have begun a flush meanwhile.
    if (this.#busy !== null) return
    const atOnce = sealed >= AT_ONCE_SEGMENTS && !this.#failed
    if (waitedMs >= everyMs || atOnce) void this.#start()
  }

  /** Moves what is sealed now, and returns when it is in the lake. */
  async flush(): Promise<void> {
    await this.#busy
    if ((await this.#sealedSegments()) > 0) await (this.#busy ?? this.#start())
  }

  async #everyMs(): Promise<number> {
    const trials = await runningTrials(this.#context.store.db)
    const elapsed = trials.map(({ look }) => look?.elapsedMs ?? 0)
    return Math.min(EVERY_MS, ...elapsed.map((ms) => Math.max(TRIAL_EVERY_MS, ms / 60)))
  }

  #start(): Promise<void> {
    this.#busy = this.#run().finally(() => (this.#busy = null))
    return this.#busy
  }

  async #sealedSegments(): Promise<number> {
    const spoolDir = join(this.#context.dataDir, 'spool')
    let sealed = 0
    for (const instance of await listInstances(spoolDir)) {
      sealed += (await listSegments(spoolDir, instance)).filter((s) => s.sealed).length
    }
    return sealed
  }

  async #run(): Promise<void> {
    const { dataDir, log } = this.#context
    try {
      this.#failed = true
      const report = await this.#ingest({
        spoolDir: join(dataDir, 'spool'),
        lakeDir: join(dataDir, 'lake'),
        observedManifest: await observedManifest(this.#context.store.db),
      })
      this.#failed = false
      this.#failing = null
      if (report.predictions + report.labels > 0) log.debug({ report }, 'moved from the spool into the lake')
      if (report.quarantined > 0)
        log.error({ report }, 'records of the spool can not be read and are kept in quarantine')
    } catch (error) {
      this.#failing = reasonOf(error)
      log.warn({ err: error }, 'moving the spool into the lake failed and is tried again')
    } finally {
      this.#lastEndMs = this.#context.clock.monotonicMs()
    }
  }
}
