import type { Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { ControlContext } from '../control-context.ts'
import { forgetTraffic, rollUpHour } from './traffic-store.ts'

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
/** Between two clearances, real time. */
export const CLEAR_EVERY_MS = 10 * 60_000
/** Kept whatever the configuration says (real time). */
const KEEP_MS_MIN = 7 * DAY_MS
/** Minutes are told apart for so long; then hours are. The short windows of 30 days take the last six hours. */
export const MINUTES_KEPT_MS = DAY_MS
/** Of hours at once, so that no look takes long. */
const HOURS_AT_ONCE = 100

/**
 * Keeps the tables of indicators bounded: what gateways counted is kept by minute for a day, then by hour, and all of
 * it goes once it is older than two of the longest windows.
 */
export class Retention {
  readonly #context: ControlContext
  #clearedMs = -Infinity

  constructor(context: ControlContext) {
    this.#context = context
  }

  async look(models: ModelConfig[]): Promise<void> {
    const nowMs = this.#context.clock.monotonicMs()
    if (nowMs - this.#clearedMs < CLEAR_EVERY_MS) return
    await this.#clear(models)
    this.#clearedMs = nowMs
  }

  async #clear(models: ModelConfig[]): Promise<void> {
    const { store, clock } = this.#context
    const longestMs = Math.max(0, ...models.flatMap((m) => m.serviceLevels.map((level) => level.windowMs)))
    const keepMs = Math.max(KEEP_MS_MIN, 2 * longestMs)
    const [epochMs, calendarMs] = [clock.epochMs(), clock.calendarMs()]
    await store.transaction((tx) => forgetTraffic(tx, epochMs - keepMs))
    // A rehearsal's months pass within the real days that `status` shows: those stay.
    await store.db
      .deleteFrom('sli')
      .where('at_ms', '<', Math.floor(epochMs - KEEP_MS_MIN))
      .where((eb) =>
        eb.or([
          eb.and([eb('calendar_ms', 'is', null), eb('at_ms', '<', Math.floor(epochMs - keepMs))]),
          eb('calendar_ms', '<', Math.floor(calendarMs - keepMs)),
        ]),
      )
      .execute()
    for (const hour of await this.#oldHours(epochMs - MINUTES_KEPT_MS))
      await store.transaction((tx: Transaction<Database>) => rollUpHour(tx, hour))
  }

  /** Hours that hold rows of single minutes still, oldest first. */
  async #oldHours(beforeMs: number): Promise<number[]> {
    const rows = await this.#context.store.db
      .selectFrom('traffic')
      .select((eb) => eb('minute_ms', '/', HOUR_MS).as('hour'))
      .where((eb) => eb(eb('minute_ms', '%', HOUR_MS), '<>', 0))
      .where('minute_ms', '<', Math.floor(beforeMs / HOUR_MS) * HOUR_MS)
      .groupBy('hour')
      .orderBy('hour')
      .limit(HOURS_AT_ONCE)
      .execute()
    return rows.map(({ hour }) => Number(hour) * HOUR_MS)
  }
}
