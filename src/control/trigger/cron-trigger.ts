import type { CronTrigger, ModelConfig } from '../../config/project.ts'
import type { ControlContext } from '../control-context.ts'
import {
  CATCH_UP_MAX,
  decideCron,
  GRACE_MS,
  iso,
  skippedText,
  type CronDecision,
  type CronState,
} from './decide-cron.ts'
import { recordOutcome, type Firing } from './record-firing.ts'
import type { Looked, TriggerKindLook } from './trigger-look.ts'
import { openRunOf, stateKey, type TriggerState } from './trigger-store.ts'

/** Fires at calendar times, each once: the time is the firing's key. */
export class CronLook implements TriggerKindLook<CronTrigger> {
  readonly #context: ControlContext
  /** By trigger: when this process last looked at it and could have fired. */
  readonly #watched = new Map<string, { calendarMs: number; epochMs: number }>()

  constructor(context: ControlContext) {
    this.#context = context
  }

  async look(model: ModelConfig, trigger: CronTrigger, state: TriggerState | null): Promise<Looked> {
    const { clock, store } = this.#context
    const nowMs = Math.round(clock.calendarMs())
    const watched = this.#watch(stateKey(model.name, trigger.name), nowMs)
    const seen = stateOf(state)
    const decision = decideCron(
      {
        trigger,
        state: seen,
        resumed: state?.resumed ?? null,
        watchedSinceMs: watched?.calendarMs ?? null,
        openRun: await openRunOf(store.db, model.name),
      },
      nowMs,
    )
    if (decision.kind === 'wait') return { state: decision.state, why: decision.why, nextMs: decision.dueMs }
    const about = { model, trigger: trigger.name, kind: 'cron' as const, before: state?.seen ?? {} }
    const { state: next, dueMs } = decision
    if (decision.kind === 'begin') {
      await recordOutcome(this.#context, { ...about, seen: next, dueMs, skipped: [], fire: null })
      return { state: 'watching', why: decision.why, nextMs: dueMs }
    }
    const skipped = decision.skipped.map(skippedText)
    const sinceWatchedMs = watched === null ? null : clock.epochMs() - watched.epochMs
    const wasPaused = (state?.resumed ?? null) !== null
    const fire = firingOf(trigger, decision, { sinceWatchedMs, wasPaused }, nowMs)
    const runId = await recordOutcome(this.#context, { ...about, seen: next, dueMs, skipped, fire })
    const why = runId === null ? (skipped.at(-1) ?? 'not yet time') : `fired ${runId} for ${iso(decision.fireMs!)}`
    return { state: 'watching', why, nextMs: dueMs, againInMs: decision.isMore ? AT_ONCE_MS : null }
  }

  /** @returns the last look, where it was a moment ago in real time */
  #watch(key: string, calendarMs: number): { calendarMs: number; epochMs: number } | null {
    const last = this.#watched.get(key)
    const epochMs = this.#context.clock.epochMs()
    this.#watched.set(key, { calendarMs, epochMs })
    return last !== undefined && Math.abs(epochMs - last.epochMs) <= GRACE_MS ? last : null
  }
}

const AT_ONCE_MS = 20

/**
 * @param seen.sinceWatchedMs - real time since the last look; the calendar may be rehearsed and run much faster
 * @param seen.wasPaused - then it is a person's wish that it comes late, and says nothing of punctuality
 */
function firingOf(
  trigger: CronTrigger,
  { fireMs, isLate }: Extract<CronDecision, { kind: 'act' }>,
  { sinceWatchedMs, wasPaused }: { sinceWatchedMs: number | null; wasPaused: boolean },
  nowMs: number,
): Firing | null {
  if (fireMs === null) return null
  const late = isLate ? `, caught up (catchUp '${trigger.catchUp}', at most ${CATCH_UP_MAX})` : ''
  const delayMs = isLate || sinceWatchedMs === null ? nowMs - fireMs : Math.min(sinceWatchedMs, nowMs - fireMs)
  return {
    why: `${trigger.cron} (${trigger.timeZone}) at ${iso(fireMs)}${late}`,
    asOfMs: fireMs,
    keys: [iso(fireMs)],
    delayMs: wasPaused ? null : delayMs,
  }
}

function stateOf(state: TriggerState | null): CronState | null {
  const seen = state?.seen as Partial<CronState> | null | undefined
  return typeof seen?.untilMs === 'number' ? (seen as CronState) : null
}
