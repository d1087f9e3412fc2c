import { sql } from 'kysely'
import type { ModelConfig, TriggerConfig } from '../../config/project.ts'
import { messageOf, unreachable } from '../../kernel/errors.ts'
import type { ControlContext } from '../control-context.ts'
import { AlarmLook } from './alarm-trigger.ts'
import { BackfillLook, isOpenBackfill } from './backfill-look.ts'
import { CronLook } from './cron-trigger.ts'
import { NewDataLook } from './new-data-trigger.ts'
import type { Looked, TriggerView } from './trigger-look.ts'
import { stateKey, triggerStates, type TriggerState } from './trigger-store.ts'

export type { TriggerView } from './trigger-look.ts'

/** Looks at every trigger and backfill, and asks for runs, each firing once, also across restarts. */
export class TriggerController {
  readonly #context: ControlContext
  readonly #newData: NewDataLook
  readonly #cron: CronLook
  readonly #alarm: AlarmLook
  readonly #backfills: BackfillLook
  #views: TriggerView[] = []

  constructor(context: ControlContext) {
    this.#context = context
    this.#newData = new NewDataLook(context)
    this.#cron = new CronLook(context)
    this.#alarm = new AlarmLook(context)
    this.#backfills = new BackfillLook(context)
  }

  /** @returns when to look again, in ms */
  async look(): Promise<number> {
    const models = this.#context.project()?.project.models ?? []
    const { db } = this.#context.store
    let states = await triggerStates(db)
    for (const model of models) if (await this.#adoptRenamed(model, states)) states = await triggerStates(db)
    const views: TriggerView[] = []
    let againInMs = LOOK_MS
    const see = async (about: Pick<TriggerView, 'model' | 'name' | 'kind'>, look: () => Promise<Looked>) => {
      const looked = await this.#lookSafely(about, states.get(stateKey(about.model, about.name)) ?? null, look)
      views.push({ ...about, state: looked.state, why: looked.why, nextMs: looked.nextMs ?? null })
      againInMs = Math.min(againInMs, Math.max(SOON_MS, looked.againInMs ?? LOOK_MS))
    }
    for (const model of models) {
      for (const trigger of model.triggers) {
        const state = states.get(stateKey(model.name, trigger.name)) ?? null
        await see({ model: model.name, name: trigger.name, kind: trigger.kind }, () =>
          this.#look(model, trigger, state),
        )
      }
    }
    for (const state of [...states.values()].filter(isOpenBackfill)) {
      const model = models.find(({ name }) => name === state.model) ?? null
      await see({ model: state.model, name: state.name, kind: 'backfill' }, () =>
        this.#backfills.look(model, state, states.values()),
      )
    }
    this.#newData.endLook()
    this.#views = views
    return againInMs
  }

  views(): TriggerView[] {
    return this.#views
  }

  /** A trigger that can't be looked at says so, and keeps no other from firing. */
  async #lookSafely(
    about: { model: string; name: string },
    state: TriggerState | null,
    look: () => Promise<Looked>,
  ): Promise<Looked> {
    if (state?.paused) return { state: 'paused', why: state.paused.why }
    if (this.#context.diskLow()) return { state: 'blocked', why: 'free disk space is below the watermark' }
    try {
      const looked = await look()
      if (state?.resumed) await this.#hasResumed(state)
      return looked
    } catch (error) {
      this.#newData.forget(stateKey(about.model, about.name))
      this.#context.log.warn({ ...about, trigger: about.name, err: error }, 'a trigger could not be looked at')
      return { state: 'blocked', why: messageOf(error) }
    }
  }

  #look(model: ModelConfig, trigger: TriggerConfig, state: TriggerState | null): Promise<Looked> {
    switch (trigger.kind) {
      case 'newData':
        return this.#newData.look(model, trigger, state)
      case 'cron':
        return this.#cron.look(model, trigger, state)
      case 'alarm':
        return this.#alarm.look(model, trigger, state)
      default:
        return unreachable(trigger)
    }
  }

  /** One look is enough to settle what was missed. Another pause and resume meanwhile has its own. */
  async #hasResumed({ model, name, resumed }: TriggerState): Promise<void> {
    await this.#context.store.db
      .updateTable('trigger_state')
      .set({ resumed: null })
      .where('model', '=', model)
      .where('trigger_name', '=', name)
      .where(sql`resumed ->> 'calendarMs'`, '=', String(resumed!.calendarMs))
      .execute()
  }

  /** A trigger that was given a name keeps what it had seen under `newData-1`: else all of it would be new again. */
  async #adoptRenamed(model: ModelConfig, states: Map<string, TriggerState>): Promise<boolean> {
    let adopted = false
    const places = model.triggers.filter(({ kind }) => kind === 'newData').map(({ name }) => name)
    const declared = new Set(model.triggers.map(({ name }) => name))
    for (const [i, name] of places.entries()) {
      const old = `newData-${i + 1}`
      const isRenamed = states.has(stateKey(model.name, old)) && !states.has(stateKey(model.name, name))
      if (!isRenamed || declared.has(old)) continue
      await this.#context.store.transaction(async (tx) => {
        for (const table of ['trigger_state', 'trigger_firing'] as const) {
          await tx
            .updateTable(table)
            .set({ trigger_name: name })
            .where('model', '=', model.name)
            .where('trigger_name', '=', old)
            .execute()
        }
      })
      this.#newData.forget(stateKey(model.name, name))
      adopted = true
    }
    return adopted
  }
}

const LOOK_MS = 1_000
const SOON_MS = 20
