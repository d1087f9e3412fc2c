import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../../src/kernel/stats/random.ts'
import type { VersionSummary } from '../../src/surface/api/version-schemas.ts'
import type { Installation } from './installation.ts'
import { landData, MODEL, type TestProject } from './project.ts'

/** What a person does meanwhile, one thing after another, and a list of what was acknowledged. */

/** `why` is given with each change and is unlike any other: by it the change is found again. */
export type Change =
  | { kind: 'run'; id: string; why: string }
  | { kind: 'cancel'; id: string }
  | { kind: 'approved' | 'rejected'; ref: string; why: string }
  | { kind: 'release' | 'rollback'; id: string }
  | { kind: 'import'; ref: string; path: string }
  | { kind: 'apply'; revision: number }
  | { kind: 'retire' | 'revive' | 'keep'; ref: string; why: string }
  | { kind: 'unfreeze'; why: string }

const BY = 'crash suite'
const PAUSE_MS_MAX = 900
/** More open runs than this are no use: one of a model runs at a time. */
const OPEN_RUNS_MAX = 2
const PENDING_FILES_MAX = 2
const KEPT_MS = 10_000

export class Changes {
  readonly acknowledged: Change[] = []
  /** Names of files that must have started a run, each once. */
  readonly landed: string[] = []
  /** The connection broke before the answer: it may have happened or not. */
  unanswered = 0
  /** The state forbade it, e.g. a rollback with nothing to go back to. */
  refused = 0
  private readonly installation: Installation
  private readonly project: TestProject
  private readonly random: Random
  private readonly cancelled = new Set<string>()
  private count = 0
  private isWanted = false
  private work: Promise<void> = Promise.resolve()

  constructor(installation: Installation, project: TestProject, random: Random) {
    this.installation = installation
    this.project = project
    this.random = random
  }

  start(): void {
    this.isWanted = true
    this.work = this.goOn()
  }

  /** Returns when the last change has been answered. */
  async stop(): Promise<void> {
    this.isWanted = false
    await this.work
  }

  /** Asked for, whether or not the answer came. */
  mayHaveCancelled(runId: string): boolean {
    return this.cancelled.has(runId)
  }

  private async goOn(): Promise<void> {
    while (this.isWanted) {
      await sleep(this.random.integer(PAUSE_MS_MAX))
      await this.attempt(() => this.keepBusy())
      await this.attempt(() => this.change())
    }
  }

  /** @throws what is no consequence of a killed process and no refusal */
  private async attempt(act: () => Promise<void>): Promise<void> {
    try {
      await act()
    } catch (error) {
      const { code, kind } = error as { code?: string; kind?: string }
      if (code === 'MR_CONNECTION_LOST' || code === 'MR_CALL_TIMED_OUT' || code === 'MR_NOT_RUNNING') this.unanswered++
      else if (kind === 'conflict' || kind === 'not-found') this.refused++
      else throw error
    }
  }

  private async keepBusy(): Promise<void> {
    const runs = await this.installation.api.runs.list({ limit: 20 })
    if (runs.filter(({ endedAtMs }) => endedAtMs === null).length < OPEN_RUNS_MAX) await this.train()
  }

  private async change(): Promise<void> {
    const acts = [
      () => this.landFile(),
      () => this.judge(),
      () => this.judge(),
      () => this.rollBack(),
      () => this.release(),
      () => this.import(),
      () => this.cancel(),
      () => this.apply(),
      () => this.endCanary(),
      () => this.retire(),
      () => this.revive(),
      () => this.keep(),
    ]
    await acts[this.random.integer(acts.length)]!()
  }

  private async train(): Promise<void> {
    const why = this.newWhy()
    const quality = this.random.integer(4) === 0 ? 'bad' : 'good'
    const { id } = await this.api.runs.start({ model: MODEL, params: { quality }, why, by: BY })
    this.acknowledged.push({ kind: 'run', id, why })
  }

  /** What the trigger has not seen yet is few, so that each file is named by the run that it starts. */
  private async landFile(): Promise<void> {
    const causes = (await this.api.runs.list({ limit: 1_000 })).map(({ cause }) => cause)
    const pending = this.landed.filter((name) => !causes.some((cause) => cause.includes(name)))
    if (pending.length >= PENDING_FILES_MAX) return
    const name = `week-${String(this.landed.length + 1).padStart(4, '0')}.csv`
    landData(this.project, name)
    this.landed.push(name)
  }

  /** A person's word on a version that the gate has refused. */
  private async judge(): Promise<void> {
    const version = (await this.versions()).find((v) => v.status === 'failed' && v.approval === null)
    if (version === undefined) return
    const why = this.newWhy()
    const kind = this.random.integer(2) === 0 ? 'approved' : 'rejected'
    const act = kind === 'approved' ? this.api.gates.approve : this.api.gates.reject
    await act({ ref: version.ref, why, by: BY })
    this.acknowledged.push({ kind, ref: version.ref, why })
  }

  private async rollBack(): Promise<void> {
    const { id } = await this.api.releases.rollback({ endpoint: MODEL, why: this.newWhy(), by: BY })
    this.acknowledged.push({ kind: 'rollback', id })
    await this.unfreeze()
  }

  /** A rollback freezes the model; were it left so, nothing would be released any more. */
  private async unfreeze(): Promise<void> {
    const why = this.newWhy()
    const ended = await this.api.freezes.end({ model: MODEL, why, by: BY })
    if (ended.length > 0) this.acknowledged.push({ kind: 'unfreeze', why })
  }

  /** Whatever is tried under traffic now is promoted or stopped by a person. */
  private async endCanary(): Promise<void> {
    await this.unfreeze()
    const [canary] = await this.api.canaries.list()
    if (canary === undefined) return
    const act = this.random.integer(2) === 0 ? this.api.canaries.promote : this.api.canaries.stop
    const { id } = await act({ endpoint: MODEL, why: this.newWhy(), by: BY })
    this.acknowledged.push({ kind: 'release', id })
  }

  /** Refused for those in use; the others are drained, cold and deleted while processes die. */
  private async retire(): Promise<void> {
    const versions = await this.versions()
    const version = versions[this.random.integer(Math.max(1, versions.length))]
    if (version === undefined) return
    const why = this.newWhy()
    await this.api.retirement.retire({ ref: version.ref, why, by: BY, dryRun: false })
    this.acknowledged.push({ kind: 'retire', ref: version.ref, why })
  }

  private async revive(): Promise<void> {
    const cold = (await this.api.retirement.list({ model: MODEL })).find(({ status }) => status === 'cold')
    if (cold === undefined) return
    const why = this.newWhy()
    await this.api.retirement.revive({ ref: cold.version, why, by: BY })
    this.acknowledged.push({ kind: 'revive', ref: cold.version, why })
  }

  private async keep(): Promise<void> {
    if (this.random.integer(3) > 0) return
    const proposed = (await this.api.retirement.list({ model: MODEL })).find(({ status }) => status === 'proposed')
    if (proposed === undefined) return
    const why = this.newWhy()
    const untilMs = Date.now() + KEPT_MS
    await this.api.retirement.keep({ ref: proposed.version, untilMs, why, by: BY })
    this.acknowledged.push({ kind: 'keep', ref: proposed.version, why })
  }

  /** Of a version that was live before. */
  private async release(): Promise<void> {
    const old = (await this.versions()).filter((v) => v.status === 'passed' && v.release === 'retired')
    const version = old[this.random.integer(Math.max(1, old.length))]
    if (version === undefined) return
    const { id } = await this.api.releases.create({ ref: version.ref, why: this.newWhy(), by: BY })
    this.acknowledged.push({ kind: 'release', id })
  }

  /** The file of another version, as if it had been made elsewhere. */
  private async import(): Promise<void> {
    // One whose file is not about to be deleted under the import.
    const version = (await this.versions()).find((v) => v.status === 'passed' && v.aliases.length > 0)
    if (version === undefined) return
    const { artifacts } = await this.api.versions.get({ ref: version.ref })
    const hex = artifacts.find(({ name }) => name === 'model')?.digest.replace('sha256:', '')
    if (hex === undefined) throw new Error(`${version.ref} has no model.`)
    const path = `${this.installation.dataDir}/artifacts/sha256/${hex.slice(0, 2)}/${hex}`
    const { ref } = await this.api.versions.import({
      model: MODEL,
      from: { path },
      as: null,
      why: this.newWhy(),
      by: BY,
    })
    this.acknowledged.push({ kind: 'import', ref, path })
  }

  private async cancel(): Promise<void> {
    if (this.random.integer(3) > 0) return
    const run = (await this.api.runs.list({ limit: 10 })).find(({ endedAtMs }) => endedAtMs === null)
    if (run === undefined) return
    this.cancelled.add(run.id)
    await this.api.runs.cancel({ id: run.id, why: this.newWhy(), by: BY })
    this.acknowledged.push({ kind: 'cancel', id: run.id })
  }

  private async apply(): Promise<void> {
    const { project } = await this.api.project.get()
    const models = project.models.map((model) => ({ ...model, pipeline: { ...model.pipeline, seed: this.count } }))
    const applied = { source: null, sourcePath: null, project: { ...project, models }, by: BY }
    const { revision } = await this.api.project.apply(applied)
    this.acknowledged.push({ kind: 'apply', revision })
  }

  private versions(): Promise<VersionSummary[]> {
    return this.api.versions.list({ model: MODEL, limit: 30 })
  }

  private newWhy(): string {
    this.count++
    return `change ${this.count}.`
  }

  private get api() {
    return this.installation.api
  }
}
