import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { glob, stat } from 'node:fs/promises'
import { isAbsolute, join, relative, resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { ModelConfig, TriggerConfig } from '../../config/project.ts'
import { messageOf } from '../../kernel/errors.ts'
import { appendEvent } from '../../kernel/store/state-machine.ts'
import { snapshotCode } from '../pipeline/code-snapshot.ts'
import { requestRun } from '../pipeline/run-requests.ts'
import { recordSli } from '../service-level/sli-requests.ts'
import type { ControlContext } from '../control-context.ts'
import { decideExamined, decideNewData, type FoundFile, type SeenFile } from './decide-new-data.ts'

export interface TriggerView {
  model: string
  name: string
  kind: TriggerConfig['kind']
  state: 'watching' | 'settling' | 'waiting' | 'blocked'
  why: string
}

type Seen = Record<string, SeenFile>

/** Watches for new data and asks for runs, each firing once, also across restarts. */
export class TriggerController {
  readonly #context: ControlContext
  /** Files by absolute path, as they were at the last look. */
  #files = new Map<string, FoundFile>()
  #views = new Map<string, TriggerView>()
  /** What the store holds; nobody else writes it. */
  readonly #seen = new Map<string, Seen>()

  constructor(context: ControlContext) {
    this.#context = context
  }

  /** @returns when to look again, in ms */
  async look(): Promise<number> {
    const applied = this.#context.project()
    const look: Look = { files: new Map(), views: new Map() }
    let againInMs = LOOK_MS
    for (const model of applied?.project.models ?? []) {
      for (const [i, trigger] of model.triggers.entries()) {
        const againAtMs = await this.#lookAt(look, model, trigger, `${trigger.kind}-${i + 1}`)
        if (againAtMs !== null) againInMs = Math.min(againInMs, Math.max(20, againAtMs - this.#context.clock.epochMs()))
      }
    }
    this.#files = look.files
    this.#views = look.views
    return againInMs
  }

  views(): TriggerView[] {
    return [...this.#views.values()]
  }

  async #lookAt(look: Look, model: ModelConfig, trigger: TriggerConfig, name: string): Promise<number | null> {
    const key = `${model.name}/${name}`
    const show = (state: TriggerView['state'], why: string) =>
      look.views.set(key, { model: model.name, name, kind: trigger.kind, state, why })
    try {
      const { root } = this.#context.project()!.project
      const found = await this.#find(look, root, trigger.path)
      if (this.#context.diskLow()) {
        show('blocked', 'free disk space is below the watermark')
        return null
      }
      const seen = await this.#seenBy(model.name, name)
      const decision = decideNewData(found, seen, trigger, this.#context.clock.epochMs())
      if (decision.kind === 'wait') {
        show(decision.state, decision.why)
        return decision.againAtMs
      }
      show('settling', `looking into ${decision.paths.length} changed files`)
      const now = await digests(root, decision.paths)
      const examined = decideExamined(now, seen, trigger.minFiles)
      if (examined.kind === 'fire') {
        const dueAtMs = Math.max(...found.map((f) => f.stableSinceMs)) + trigger.settleMs
        await this.#fire(model, name, { ...examined, before: seen }, dueAtMs)
        show('watching', `fired: ${examined.why}`)
      } else {
        if (!isDeepStrictEqual(examined.seen, seen)) await this.#remember(model.name, name, examined.seen)
        if (examined.kind === 'tooFew') show('waiting', examined.why)
        else show('watching', 'nothing new: files were only touched')
      }
    } catch (error) {
      show('blocked', messageOf(error))
      this.#seen.delete(key)
      this.#context.log.warn({ model: model.name, trigger: name, err: error }, 'a trigger could not look for data')
    }
    return null
  }

  async #find(look: Look, root: string, path: string): Promise<FoundFile[]> {
    const pattern = isAbsolute(path) ? path : join(root, path)
    const found: FoundFile[] = []
    for await (const file of glob(pattern)) {
      const facts = await stat(file).catch(() => null)
      if (facts === null || !facts.isFile()) continue
      const before = this.#files.get(file)
      const same = before?.sizeBytes === facts.size && before.mtimeMs === facts.mtimeMs
      const stableSinceMs = same ? before.stableSinceMs : this.#context.clock.epochMs()
      const entry = { path: relative(root, file), sizeBytes: facts.size, mtimeMs: facts.mtimeMs, stableSinceMs }
      look.files.set(file, entry)
      found.push(entry)
    }
    return found
  }

  async #seenBy(model: string, name: string): Promise<Seen> {
    const key = `${model}/${name}`
    const known = this.#seen.get(key)
    if (known !== undefined) return known
    const { db } = this.#context.store
    const row = await db
      .selectFrom('trigger_state')
      .select('seen')
      .where('model', '=', model)
      .where('trigger_name', '=', name)
      .executeTakeFirst()
    const seen = (row?.seen ?? {}) as Seen
    this.#seen.set(key, seen)
    return seen
  }

  async #remember(model: string, name: string, seen: Seen): Promise<void> {
    const text = JSON.stringify(seen)
    await this.#context.store.db
      .insertInto('trigger_state')
      .values({ model, trigger_name: name, seen: text })
      .onConflict((conflict) => conflict.columns(['model', 'trigger_name']).doUpdateSet({ seen: text }))
      .execute()
    this.#seen.set(`${model}/${name}`, seen)
  }

  /** The firing, its run and what was seen are one transaction: it happens once or not at all. */
  async #fire(
    model: ModelConfig,
    name: string,
    firing: { why: string; before: Seen; seen: Seen },
    dueAtMs: number,
  ): Promise<void> {
    const { store, clock, artifacts, dataDir } = this.#context
    const { revisionId, project } = this.#context.project()!
    const code = await snapshotCode({ root: project.root, ignore: project.snapshotIgnore, dataDir }, artifacts)
    const nowMs = clock.epochMs()
    const calendarMs = Math.round(clock.calendarMs())
    const key = { model: model.name, trigger_name: name }
    const seen = JSON.stringify(firing.seen)
    await store.transaction(async (tx) => {
      const mine = tx.selectFrom('trigger_state').select('seen').where('model', '=', model.name)
      const state = await mine.where('trigger_name', '=', name).executeTakeFirst()
      if (!isDeepStrictEqual(state?.seen ?? {}, firing.before)) return
      const runId = await requestRun(tx, clock, {
        model,
        revisionId,
        triggerKind: 'newData',
        triggerWhy: firing.why,
        asOfMs: calendarMs,
        codeDigest: code.digest,
      })
      const { fired } = await tx
        .selectFrom('trigger_firing')
        .select((eb) => eb.fn.countAll().as('fired'))
        .where('model', '=', model.name)
        .where('trigger_name', '=', name)
        .executeTakeFirstOrThrow()
      const firing_key = String(Number(fired) + 1)
      await tx
        .insertInto('trigger_firing')
        .values({ ...key, firing_key, run_id: runId, at_ms: nowMs, calendar_ms: calendarMs, why: firing.why })
        .execute()
      await appendEvent(tx, {
        entity: 'trigger',
        entityId: `${model.name}/${name}`,
        from: null,
        to: 'fired',
        cause: firing.why,
        atMs: nowMs,
        calendarMs,
        detail: { run: runId, model: model.name },
      })
      await recordSli(tx, {
        phase: 'trigger',
        indicator: 'triggerDelayMs',
        model: model.name,
        value: Math.max(0, nowMs - dueAtMs),
        good: true,
        subject: runId,
        atMs: nowMs,
      })
      await tx
        .insertInto('trigger_state')
        .values({ ...key, seen, last_fired_at_ms: calendarMs })
        .onConflict((conflict) =>
          conflict.columns(['model', 'trigger_name']).doUpdateSet({ seen, last_fired_at_ms: calendarMs }),
        )
        .execute()
    })
    this.#seen.delete(`${model.name}/${name}`)
    this.#context.wake('run')
  }
}

const LOOK_MS = 1_000

/** What one look finds; it replaces what the last one found. */
interface Look {
  files: Map<string, FoundFile>
  views: Map<string, TriggerView>
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
