import type { AlarmTrigger, ModelConfig } from '../../config/project.ts'
import type { ControlContext } from '../control-context.ts'
import { Elapsed } from '../elapsed.ts'
import type { Alert } from '../monitoring/alert.ts'
import { recordResponse } from '../monitoring/alert-requests.ts'
import { alarmsSince, lastAlarmSeq } from '../monitoring/alert-store.ts'
import { decideAlarm, names, type AlarmState, type PastFiring } from './decide-alarm.ts'
import { recordOutcome, type Firing } from './record-firing.ts'
import type { Looked, TriggerKindLook } from './trigger-look.ts'
import { firingsOf, openRunOf, stateKey, type FiringRecord, type TriggerState } from './trigger-store.ts'

/** Trains when monitors raise their alarm; each alert counts once, by its id. */
export class AlarmLook implements TriggerKindLook<AlarmTrigger> {
  readonly #context: ControlContext
  /** By trigger: when this process last looked at it, in real time. What it could have fired for, it fired for then. */
  readonly #looked = new Map<string, number>()
  /** By trigger and run: since when it has fired. */
  readonly #ago: Elapsed

  constructor(context: ControlContext) {
    this.#context = context
    this.#ago = new Elapsed(context.clock)
  }

  async look(model: ModelConfig, trigger: AlarmTrigger, state: TriggerState | null): Promise<Looked> {
    const { clock, store } = this.#context
    const isOn = model.monitors.monitors.some((m) => trigger.monitors.length === 0 || trigger.monitors.includes(m.name))
    if (!isOn) return { state: 'blocked', why: `no monitor is on of ${trigger.monitors.join(', ') || 'any kind'}` }
    const seen = stateOf(state)
    const key = stateKey(model.name, trigger.name)
    const lastLookMs = this.#looked.get(key) ?? null
    this.#looked.set(key, clock.epochMs())
    const now = { calendarMs: Math.round(clock.calendarMs()), epochMs: clock.epochMs() }
    const decision = decideAlarm(
      {
        trigger,
        state: seen,
        resumed: state?.resumed ?? null,
        alarms: seen === null ? [] : await alarmsSince(store.db, model.name, seen.alarmSeq),
        lastSeq: await lastAlarmSeq(store.db),
        firings: this.#past(key, await firingsOf(store.db, model.name, trigger.name, trigger.perDay)),
        openRun: await openRunOf(store.db, model.name),
      },
      now.calendarMs,
    )
    if (decision.kind === 'wait') return decision
    const about = { model, trigger: trigger.name, kind: 'alarm' as const, before: state?.seen ?? {}, dueMs: null }
    if (decision.kind === 'begin') {
      await recordOutcome(this.#context, { ...about, seen: decision.state, skipped: [], fire: null })
      return { state: 'watching', why: decision.why }
    }
    const { skipped, fire } = decision
    const runId = await recordOutcome(this.#context, {
      ...about,
      seen: decision.state,
      skipped: skipped === null ? [] : [`${names(skipped.alarms)}: ${skipped.why}`],
      fire: fire.length === 0 ? null : firingOf(fire, now, lastLookMs),
    })
    return { state: 'watching', why: runId === null ? 'no alarm' : `fired ${runId} for ${names(fire)}` }
  }

  #past(key: string, firings: FiringRecord[]): PastFiring[] {
    const nameOf = ({ runId }: FiringRecord) => `${key} ${runId}`
    const names = new Set(firings.map(nameOf))
    this.#ago.keepOnly((name) => names.has(name) || !name.startsWith(`${key} `))
    const sinceMs = ({ atMs }: FiringRecord) => Math.max(0, this.#context.clock.epochMs() - atMs)
    return firings.map((firing) => ({ ...firing, agoMs: this.#ago.ms(nameOf(firing), () => sinceMs(firing)) }))
  }
}

/** @param lastLookMs - null after a restart: how long an alarm was held back before is not known then */
function firingOf(alarms: Alert[], now: { calendarMs: number; epochMs: number }, lastLookMs: number | null): Firing {
  const firedAtMs = Math.max(...alarms.map((alarm) => alarm.firedAtMs ?? now.epochMs))
  return {
    why: `${names(alarms)}: ${alarms[0]!.why}`,
    asOfMs: now.calendarMs,
    keys: alarms.map(({ id }) => id),
    delayMs: lastLookMs === null ? null : now.epochMs - Math.max(firedAtMs, lastLookMs),
    async also(tx, runId) {
      for (const { id } of alarms) await recordResponse(tx, id, runId)
    },
  }
}

function stateOf(state: TriggerState | null): AlarmState | null {
  const seen = state?.seen as Partial<AlarmState> | null | undefined
  return typeof seen?.alarmSeq === 'number' ? (seen as AlarmState) : null
}
