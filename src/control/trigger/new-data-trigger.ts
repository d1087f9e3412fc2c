import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { glob, stat } from 'node:fs/promises'
import { isAbsolute, join, relative, resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { ModelConfig, NewDataTrigger } from '../../config/project.ts'
import { isMissing } from '../../kernel/runtime/system-error.ts'
import type { ControlContext } from '../control-context.ts'
import { decideExamined, decideNewData, type FoundFile, type SeenFile } from './decide-new-data.ts'
import { recordOutcome, type Outcome } from './record-firing.ts'
import type { Looked, TriggerKindLook } from './trigger-look.ts'
import { stateKey, type TriggerState } from './trigger-store.ts'

type Seen = Record<string, SeenFile>

/** Watches for files that are new or changed, and have settled. */
export class NewDataLook implements TriggerKindLook<NewDataTrigger> {
  readonly #context: ControlContext
  /** Files by absolute path, as they were at the last look; what this look finds replaces it at `endLook`. */
  #files = new Map<string, FoundFile>()
  #found = new Map<string, FoundFile>()
  /** What the store holds; nobody else writes it. */
  readonly #seen = new Map<string, Seen>()

  constructor(context: ControlContext) {
    this.#context = context
  }

  endLook(): void {
    this.#files = this.#found
    this.#found = new Map()
  }

  /** Reads again from the store what it remembers of this trigger. */
  forget(key: string): void {
    this.#seen.delete(key)
  }

  async look(model: ModelConfig, trigger: NewDataTrigger, state: TriggerState | null): Promise<Looked> {
    const { root } = this.#context.project()!.project
    const nowMs = this.#context.clock.monotonicMs()
    const found = await this.#find(root, trigger.path)
    const before = await this.#seenBy(model.name, trigger.name)
    const about = { model, trigger: trigger.name, kind: 'newData' as const, before, dueMs: null }
    if (state?.resumed !== null && state?.resumed !== undefined) {
      const isAdopted = !state.resumed.catchUp
      const why = await this.#resume(about, isAdopted ? await digests(root, changedSince(found, before)) : {})
      return { state: 'watching', why }
    }
    const decision = decideNewData(found, before, trigger, nowMs)
    if (decision.kind === 'wait') {
      const againInMs = decision.againAtMs === null ? null : decision.againAtMs - nowMs
      return { state: decision.state, why: decision.why, againInMs }
    }
    const examined = decideExamined(await digests(root, decision.paths), before, trigger.minFiles)
    if (examined.kind !== 'fire') {
      if (!isDeepStrictEqual(examined.seen, before)) await this.#record({ ...about, seen: examined.seen })
      if (examined.kind === 'tooFew') return { state: 'waiting', why: examined.why }
      return { state: 'watching', why: 'nothing new: files were only touched' }
    }
    const settledAtMs = Math.max(...found.map((f) => f.stableSinceMs)) + trigger.settleMs
    const asOfMs = Math.round(this.#context.clock.calendarMs())
    const fire = { why: examined.why, asOfMs, keys: null, delayMs: nowMs - settledAtMs }
    await this.#record({ ...about, seen: examined.seen }, { fire })
    return { state: 'watching', why: `fired: ${examined.why}` }
  }

  /** What came during the pause is remembered as if it had fired, unless catching up is asked. */
  async #resume(about: Omit<Outcome, 'seen' | 'skipped' | 'fire'>, adopted: Seen): Promise<string> {
    const files = Object.keys(adopted).length
    const why = `${files} ${files === 1 ? 'file' : 'files'} that came during the pause: catching up was not asked`
    const seen = { ...(about.before as Seen), ...adopted }
    await this.#record({ ...about, seen }, { skipped: files === 0 ? [] : [why] })
    return files === 0 ? 'resumed' : why
  }

  async #record(
    outcome: Omit<Outcome, 'skipped' | 'fire'>,
    { skipped = [], fire = null }: Partial<Pick<Outcome, 'skipped' | 'fire'>> = {},
  ): Promise<void> {
    this.forget(stateKey(outcome.model.name, outcome.trigger))
    await recordOutcome(this.#context, { ...outcome, skipped, fire })
  }

  async #find(root: string, path: string): Promise<FoundFile[]> {
    const pattern = isAbsolute(path) ? path : join(root, path)
    const found: FoundFile[] = []
    for await (const file of glob(pattern)) {
      const facts = await factsOf(file)
      if (facts === null || !facts.isFile()) continue
      const before = this.#files.get(file)
      const same = before?.sizeBytes === facts.size && before.mtimeMs === facts.mtimeMs
      const stableSinceMs = same ? before.stableSinceMs : this.#context.clock.monotonicMs()
      const entry = { path: relative(root, file), sizeBytes: facts.size, mtimeMs: facts.mtimeMs, stableSinceMs }
      this.#found.set(file, entry)
      found.push(entry)
    }
    return found
  }

  async #seenBy(model: string, name: string): Promise<Seen> {
    const key = stateKey(model, name)
    const known = this.#seen.get(key)
    if (known !== undefined) return known
    const row = await this.#context.store.db
      .selectFrom('trigger_state')
      .select('seen')
      .where('model', '=', model)
      .where('trigger_name', '=', name)
      .executeTakeFirst()
    const seen = (row?.seen ?? {}) as Seen
    this.#seen.set(key, seen)
    return seen
  }
}

const changedSince = (found: FoundFile[], seen: Seen) =>
  found
    .filter((f) => seen[f.path]?.sizeBytes !== f.sizeBytes || seen[f.path]?.mtimeMs !== f.mtimeMs)
    .map(({ path }) => path)

/** A file may go between being listed and being looked at. */
async function factsOf(file: string) {
  try {
    return await stat(file)
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

async function digests(root: string, paths: string[]): Promise<Seen> {
  const result: Seen = {}
  for (const path of paths) {
    // Paths outside the root are relative to it, with `..`.
    const file = resolve(root, path)
    const { size, mtimeMs } = await stat(file)
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
    result[path] = { sizeBytes: size, mtimeMs, digest: `sha256:${hash.digest('hex')}` }
  }
  return result
}
