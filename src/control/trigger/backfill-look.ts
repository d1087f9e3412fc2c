import { sql } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import type { ControlContext } from '../control-context.ts'
import { asOfMs, decideBackfill, type Backfill } from './backfill.ts'
import { iso } from './decide-cron.ts'
import { recordOutcome } from './record-firing.ts'
import type { Looked } from './trigger-look.ts'
import { numberOf } from './trigger-requests.ts'
import { openRunOf, type TriggerState } from './trigger-store.ts'

export const isOpenBackfill = (state: TriggerState): boolean =>
  state.kind === 'backfill' && (state.seen as Backfill).status === 'running'

/** Queues the next date of a backfill once the one before has been trained and judged. */
export class BackfillLook {
  readonly #context: ControlContext

  constructor(context: ControlContext) {
    this.#context = context
  }

  /** @param all - every state, to see which backfill of the model is first */
  async look(model: ModelConfig | null, state: TriggerState, all: Iterable<TriggerState>): Promise<Looked> {
    const backfill = state.seen as Backfill
    const { db } = this.#context.store
    const decision = decideBackfill(backfill, {
      model,
      openRun: await this.#openRun(state),
      undecided: await this.#undecided(state),
      before: (await openRunOf(db, state.model)) ?? earlier(state, all),
    })
    const done = `${backfill.queued} of ${backfill.count}`
    switch (decision.kind) {
      case 'wait':
        return { state: 'waiting', why: `${done} queued: ${decision.why}` }
      case 'end':
        await this.#end(state, backfill)
        return { state: 'watching', why: `all ${backfill.count} runs have ended` }
      case 'queue': {
        const dateMs = asOfMs(backfill, decision.index)
        const why = `${state.name}: ${decision.index + 1} of ${backfill.count}, as of ${iso(dateMs)}`
        await recordOutcome(this.#context, {
          model: model!,
          trigger: state.name,
          kind: 'backfill',
          before: backfill,
          seen: { ...backfill, queued: decision.index + 1 },
          dueMs: null,
          skipped: [],
          fire: { why, asOfMs: dateMs, params: backfill.params, keys: [iso(dateMs)], delayMs: null },
        })
        return { state: 'watching', why }
      }
    }
  }

  async #openRun({ model, name }: TriggerState): Promise<string | null> {
    const row = await this.#runs(model, name).where('run.status', 'in', ['queued', 'running']).executeTakeFirst()
    return row?.id ?? null
  }

  /** A version of it whose verdict, or what becomes of it, is still open. */
  async #undecided({ model, name }: TriggerState): Promise<string | null> {
    const row = await this.#runs(model, name)
      .innerJoin('version', 'version.run_id', 'run.id')
      .select('version.id as version')
      .where('version.disposition', 'is', null)
      .executeTakeFirst()
    return row?.version ?? null
  }

  #runs(model: string, name: string) {
    return this.#context.store.db
      .selectFrom('trigger_firing')
      .innerJoin('run', 'run.id', 'trigger_firing.run_id')
      .select('run.id')
      .where('trigger_firing.model', '=', model)
      .where('trigger_name', '=', name)
  }

  async #end(state: TriggerState, backfill: Backfill): Promise<void> {
    await this.#context.store.db
      .updateTable('trigger_state')
      .set({ seen: JSON.stringify({ ...backfill, status: 'done' } satisfies Backfill) })
      .where('model', '=', state.model)
      .where('trigger_name', '=', state.name)
      .where(sql`seen ->> 'status'`, '=', 'running')
      .execute()
  }
}

function earlier(state: TriggerState, all: Iterable<TriggerState>): string | null {
  for (const other of all) {
    if (other.model === state.model && isOpenBackfill(other) && numberOf(other) < numberOf(state)) return other.name
  }
  return null
}
