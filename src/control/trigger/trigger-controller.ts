import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { glob, stat } from 'node:fs/promises'
import { isAbsolute, join, relative } from 'node:path'
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

/** Watches for new data and asks for runs, each firing once, also across restarts. */
export class TriggerController {
  readonly #context: ControlContext
  readonly #stable = new Map<string, FoundFile>()
  readonly #views = new Map<string, TriggerView>()

  constructor(context: ControlContext) {
    this.#context = context
  }

  /** @returns when to look again, in ms */
  async look(): Promise<number> {
    const applied = this.#context.project()
    let againInMs = 1_000
    for (const model of applied?.project.models ?? []) {
      for (const [i, trigger] of model.triggers.entries()) {
        const againAtMs = await this.#lookAt(model, trigger, `${trigger.kind}-${i + 1}`)
        if (againAtMs !== null) againInMs = Math.min(againInMs, Math.max(20, againAtMs - this.#context.clock.epochMs()))
      }
    }
    return againInMs
  }

  views(): TriggerView[] {
    return [...this.#views.values()]
  }

  async #lookAt(model: ModelConfig, trigger: TriggerConfig, name: string): Promise<number | null> {
    const show = (state: TriggerView['state'], why: string) => this.#views.set(`${model.name}/${name}`, { model: model.name, name, kind: trigger.kind, state, why })
    if (this.#context.diskLow()) {
      show('blocked', 'disk space is low')
      return null
    }
    try {
      const root = this.#context.project()!.project.root
      const found = await this.#find(root, trigger.path)
      const seen = await this.#seen(model.name, name)
      const decision = decideNewData(found, seen, trigger, this.#context.clock.epochMs())
      if (decision.kind === 'wait') {
        show(decision.state, decision.why)
        return decision.againAtMs
      }
      const now = await digests(root, decision.paths)
      const examined = decideExamined(now, seen, trigger.minFiles)
      if (examined.kind === 'tooFew') show('waiting', examined.why)
      else if (examined.kind === 'unchanged') await this.#remember(model.name, name, examined.seen)
      else await this.#fire(model, name, { ...examined, before: seen }, Math.max(...found.map((f) => f.stableSinceMs)) + trigger.settleMs)
    } catch (error) {
      show('blocked', messageOf(error))
      this.#context.log.warn({ model: model.name, trigger: name, err: error }, 'a trigger could not look for data')
    }
    return null
  }

  async #find(root: string, path: string): Promise<FoundFile[]> {
    const pattern = isAbsolute(path) ? path : join(root, path)
    const found: FoundFile[] = []
    for await (const file of glob(pattern)) {
      const facts = await stat(file).catch(() => null)
      if (facts === null || !facts.isFile()) continue
      const before = this.#stable.get(file)
      const same = before?.sizeBytes === facts.size && before.mtimeMs === facts.mtimeMs
      const entry = { path: relative(root, file), sizeBytes: facts.size, mtimeMs: facts.mtimeMs, stableSinceMs: same ? before.stableSinceMs : this.#context.clock.epochMs() }
      this.#stable.set(file, entry)
      found.push(entry)
    }
    return found
  }

  async #seen(model: string, name: string): Promise<Record<string, SeenFile>> {
    const row = await this.#context.store.db.selectFrom('trigger_state').select('seen').where('model', '=', model).where('trigger_name', '=', name).executeTakeFirst()
    return (row?.seen ?? {}) as Record<string, SeenFile>
  }

  async #remember(model: string, name: string, seen: Record<string, SeenFile>): Promise<void> {
    await this.#context.store.db
      .insertInto('trigger_state')
      .values({ model, trigger_name: name, seen: JSON.stringify(seen) })
      .onConflict((conflict) => conflict.columns(['model', 'trigger_name']).doUpdateSet({ seen: JSON.stringify(seen) }))
      .execute()
  }

  /** The firing, its run and what was seen are one transaction: it happens once or not at all. */
  async #fire(model: ModelConfig, name: string, firing: { why: string; before: Record<string, SeenFile>; seen: Record<string, SeenFile> }, dueAtMs: number): Promise<void> {
    const { store, clock, artifacts, dataDir } = this.#context
    const { revisionId, project } = this.#context.project()!
    const code = await snapshotCode(project.root, project.snapshotIgnore, artifacts, join(dataDir, 'tmp'))
    const nowMs = clock.epochMs()
    const calendarMs = Math.round(clock.calendarMs())
    await store.transaction(async (tx) => {
      const { fired } = await tx.selectFrom('trigger_firing').select((eb) => eb.fn.countAll().as('fired')).where('model', '=', model.name).where('trigger_name', '=', name).executeTakeFirstOrThrow()
      const state = await tx.selectFrom('trigger_state').select('seen').where('model', '=', model.name).where('trigger_name', '=', name).executeTakeFirst()
      if (JSON.stringify(state?.seen ?? {}) !== JSON.stringify(firing.before)) return
      const runId = await requestRun(tx, clock, { model, revisionId, triggerKind: 'newData', triggerWhy: firing.why, asOfMs: calendarMs, codeDigest: code.digest })
      await tx.insertInto('trigger_firing').values({ model: model.name, trigger_name: name, firing_key: String(Number(fired) + 1), run_id: runId, at_ms: nowMs, calendar_ms: calendarMs, why: firing.why }).execute()
      await appendEvent(tx, { entity: 'trigger', entityId: `${model.name}/${name}`, from: null, to: 'fired', cause: firing.why, atMs: nowMs, calendarMs, detail: { run: runId, model: model.name } })
      await recordSli(tx, { phase: 'trigger', indicator: 'triggerDelayMs', model: model.name, value: Math.max(0, nowMs - dueAtMs), good: true, subject: runId, atMs: nowMs })
      const seen = JSON.stringify(firing.seen)
      await tx
        .insertInto('trigger_state')
        .values({ model: model.name, trigger_name: name, seen, last_fired_at_ms: calendarMs })
        .onConflict((conflict) => conflict.columns(['model', 'trigger_name']).doUpdateSet({ seen, last_fired_at_ms: calendarMs }))
        .execute()
    })
    this.#context.wake('run')
  }
}

async function digests(root: string, paths: string[]): Promise<Record<string, SeenFile>> {
  const result: Record<string, SeenFile> = {}
  for (const path of paths) {
    const { size, mtimeMs } = await stat(join(root, path))
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(join(root, path))) hash.update(chunk as Buffer)
    result[path] = { sizeBytes: size, mtimeMs, digest: `sha256:${hash.digest('hex')}` }
  }
  return result
}
