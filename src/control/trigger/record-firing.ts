import { isDeepStrictEqual } from 'node:util'
import type { Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { appendEvent, timesOf } from '../../kernel/store/state-machine.ts'
import type { ControlContext } from '../control-context.ts'
import { snapshotCode } from '../pipeline/code-snapshot.ts'
import { requestRun, type TriggerKind } from '../pipeline/run-requests.ts'
import { recordSli } from '../service-level/sli-requests.ts'

/** What one look at a trigger decided. */
export interface Outcome {
  model: ModelConfig
  trigger: string
  kind: Exclude<TriggerKind, 'manual'>
  /** What was remembered when it was decided (`{}` for nothing), and what is to be remembered now. */
  before: unknown
  seen: unknown
  /** Of a cron: its next time. */
  dueMs: number | null
  /** What does not fire, one text each; kept in the history. */
  skipped: string[]
  fire: Firing | null
}

export interface Firing {
  why: string
  asOfMs: number
  params?: Record<string, string | number | boolean>
  /** Each makes it happen once, for all time: a scheduled time, the ids of alerts; null: counted. */
  keys: string[] | null
  /** Real time since it could have fired; null: not measured. */
  delayMs: number | null
  /** In the same transaction. */
  also?: (tx: Transaction<Database>, runId: string) => Promise<void>
}

/**
 * The firing, its run, what was skipped and what is remembered: one transaction, so that each happens once or not at
 * all. Where somebody else was first, or the trigger was paused meanwhile, nothing happens.
 * @returns the run's id; null where nothing fired
 */
export async function recordOutcome(context: ControlContext, outcome: Outcome): Promise<string | null> {
  const code = outcome.fire === null ? null : await currentCode(context)
  const runId = await context.store.transaction(async (tx) => {
    if (!(await isAsBefore(tx, outcome))) return null
    for (const cause of outcome.skipped) await note(tx, context, outcome, 'skipped', cause)
    const id = outcome.fire === null ? null : await fire(tx, context, outcome, outcome.fire, code!)
    await remember(tx, outcome, id === null ? null : Math.round(context.clock.calendarMs()))
    return id
  })
  if (runId !== null) context.wake('run')
  return runId
}

async function currentCode(context: ControlContext): Promise<string> {
  const { root, snapshotIgnore: ignore } = context.project()!.project
  return (await snapshotCode({ root, ignore, dataDir: context.dataDir }, context.artifacts)).digest
}

async function isAsBefore(tx: Transaction<Database>, { model, trigger, before }: Outcome): Promise<boolean> {
  const row = await tx
    .selectFrom('trigger_state')
    .select(['seen', 'paused_at_ms'])
    .where('model', '=', model.name)
    .where('trigger_name', '=', trigger)
    .forUpdate()
    .executeTakeFirst()
  return (row?.paused_at_ms ?? null) === null && isDeepStrictEqual(row?.seen ?? {}, before)
}

async function fire(
  tx: Transaction<Database>,
  context: ControlContext,
  outcome: Outcome,
  firing: Firing,
  codeDigest: string,
): Promise<string> {
  const { clock } = context
  const { model, trigger } = outcome
  const runId = await requestRun(tx, clock, {
    model,
    revisionId: context.project()!.revisionId,
    triggerKind: outcome.kind,
    triggerWhy: firing.why,
    asOfMs: firing.asOfMs,
    params: firing.params,
    codeDigest,
  })
  const keys = firing.keys ?? [await nextNumber(tx, model.name, trigger)]
  const times = { at_ms: clock.epochMs(), calendar_ms: Math.round(clock.calendarMs()) }
  const row = { model: model.name, trigger_name: trigger, run_id: runId, why: firing.why, ...times }
  await tx
    .insertInto('trigger_firing')
    .values(keys.map((firing_key) => ({ ...row, firing_key })))
    .execute()
  await note(tx, context, outcome, 'fired', firing.why, runId)
  if (firing.delayMs !== null) {
    const measured = { phase: 'trigger', indicator: 'triggerDelayMs', model: model.name, subject: runId } as const
    const when = { atMs: times.at_ms, calendarMs: times.calendar_ms }
    await recordSli(tx, { ...measured, value: Math.max(0, firing.delayMs), good: true, ...when })
  }
  await firing.also?.(tx, runId)
  return runId
}

async function nextNumber(tx: Transaction<Database>, model: string, trigger: string): Promise<string> {
  const { fired } = await tx
    .selectFrom('trigger_firing')
    .select((eb) => eb.fn.countAll().as('fired'))
    .where('model', '=', model)
    .where('trigger_name', '=', trigger)
    .executeTakeFirstOrThrow()
  return String(Number(fired) + 1)
}

async function note(
  tx: Transaction<Database>,
  { clock }: ControlContext,
  { model, trigger, kind }: Outcome,
  to: 'fired' | 'skipped',
  cause: string,
  run?: string,
): Promise<void> {
  await appendEvent(tx, {
    entity: 'trigger',
    entityId: `${model.name}/${trigger}`,
    from: null,
    to,
    cause,
    ...timesOf(clock),
    detail: { run, model: model.name, kind },
  })
}

async function remember(tx: Transaction<Database>, outcome: Outcome, firedMs: number | null): Promise<void> {
  const state = {
    seen: JSON.stringify(outcome.seen),
    kind: outcome.kind,
    due_calendar_ms: outcome.dueMs,
    resumed: null,
    ...(firedMs === null ? {} : { last_fired_at_ms: firedMs }),
  }
  await tx
    .insertInto('trigger_state')
    .values({ model: outcome.model.name, trigger_name: outcome.trigger, ...state })
    .onConflict((conflict) => conflict.columns(['model', 'trigger_name']).doUpdateSet(state))
    .execute()
}
