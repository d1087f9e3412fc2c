import type { Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { appendEvent, timesOf } from '../../kernel/store/state-machine.ts'
import { requestCancel } from '../pipeline/run-requests.ts'
import { BACKFILLS_OPEN_MAX, countDates, type Backfill } from './backfill.ts'
import { BackfillEndedError, TooManyBackfillsError, TriggerNotFoundError } from './errors.ts'
import { triggerStates, type TriggerState } from './trigger-store.ts'

/** What people ask of triggers. All of it belongs to the caller's transaction. */

interface Wish {
  model: string
  triggers: { name: string; kind: string }[]
  why: string
  by: string
}

/** A paused trigger fires nothing. @returns names of those that were not paused before */
export async function pauseTriggers(tx: Transaction<Database>, clock: Clock, wish: Wish): Promise<string[]> {
  const states = await triggerStates(tx)
  const changed: string[] = []
  for (const { name, kind } of wish.triggers) {
    if (states.get(`${wish.model}/${name}`)?.paused) continue
    const set = { paused_at_ms: clock.epochMs(), paused_why: `${wish.by}: ${wish.why}`, resumed: null }
    await change(tx, clock, wish, name, kind, set, 'paused')
    changed.push(name)
  }
  return changed
}

/**
 * What was missed during the pause stays unfired, unless `catchUp` asks for it here, or the trigger's own catchUp does.
 * @returns names of those that were paused
 */
export async function resumeTriggers(
  tx: Transaction<Database>,
  clock: Clock,
  wish: Wish & { catchUp: boolean },
): Promise<string[]> {
  const states = await triggerStates(tx)
  const changed: string[] = []
  for (const { name, kind } of wish.triggers) {
    if (!states.get(`${wish.model}/${name}`)?.paused) continue
    const resumed = JSON.stringify({ calendarMs: Math.round(clock.calendarMs()), catchUp: wish.catchUp })
    await change(tx, clock, wish, name, kind, { paused_at_ms: null, paused_why: null, resumed }, 'resumed')
    changed.push(name)
  }
  return changed
}

async function change(
  tx: Transaction<Database>,
  clock: Clock,
  { model, why, by }: Wish,
  name: string,
  kind: string,
  set: { paused_at_ms: number | null; paused_why: string | null; resumed: string | null },
  to: 'paused' | 'resumed',
): Promise<void> {
  await tx
    .insertInto('trigger_state')
    .values({ model, trigger_name: name, kind, seen: '{}', ...set })
    .onConflict((conflict) => conflict.columns(['model', 'trigger_name']).doUpdateSet(set))
    .execute()
  await noteTrigger(tx, clock, { model, name, to, cause: why === '' ? by : `${by}: ${why}` })
}

export interface BackfillRequest {
  model: ModelConfig
  fromMs: number
  untilMs: number
  everyMs: number
  params: Backfill['params']
  why: string
  by: string
}

/** @returns its name, unique within the model: `backfill-2` @throws BackfillRangeError @throws TooManyBackfillsError */
export async function requestBackfill(
  tx: Transaction<Database>,
  clock: Clock,
  request: BackfillRequest,
): Promise<string> {
  const model = request.model.name
  const count = countDates(request, clock.calendarMs())
  const mine = [...(await triggerStates(tx)).values()].filter((state) => state.model === model)
  const isOpen = (state: TriggerState) => state.kind === 'backfill' && (state.seen as Backfill).status === 'running'
  if (mine.filter(isOpen).length >= BACKFILLS_OPEN_MAX) throw new TooManyBackfillsError(model, BACKFILLS_OPEN_MAX)
  const name = `backfill-${Math.max(0, ...mine.map(numberOf)) + 1}`
  const backfill: Backfill = {
    status: 'running',
    fromMs: Math.round(request.fromMs),
    everyMs: request.everyMs,
    count,
    queued: 0,
    params: request.params,
    why: request.why,
    by: request.by,
    createdAtMs: clock.epochMs(),
    endedWhy: null,
  }
  await tx
    .insertInto('trigger_state')
    .values({ model, trigger_name: name, kind: 'backfill', seen: JSON.stringify(backfill) })
    .execute()
  const cause = `${request.by}: ${count} runs${request.why === '' ? '' : `, ${request.why}`}`
  await noteTrigger(tx, clock, { model, name, to: 'asked', cause })
  return name
}

export const numberOf = ({ name }: { name: string }): number => Number(/^backfill-(\d+)$/.exec(name)?.[1] ?? 0)

/** Ends a backfill with the run that it has open. @throws TriggerNotFoundError @throws BackfillEndedError */
export async function cancelBackfill(
  tx: Transaction<Database>,
  clock: Clock,
  { model, name, why, by }: { model: string; name: string; why: string; by: string },
): Promise<void> {
  const state = (await triggerStates(tx)).get(`${model}/${name}`)
  if (state?.kind !== 'backfill') throw new TriggerNotFoundError(model, name, [])
  const backfill = state.seen as Backfill
  if (backfill.status !== 'running') throw new BackfillEndedError(model, name, backfill.status)
  const cause = `${by}: ${why}`
  await tx
    .updateTable('trigger_state')
    .set({ seen: JSON.stringify({ ...backfill, status: 'cancelled', endedWhy: cause } satisfies Backfill) })
    .where('model', '=', model)
    .where('trigger_name', '=', name)
    .execute()
  const open = await tx
    .selectFrom('trigger_firing')
    .innerJoin('run', 'run.id', 'trigger_firing.run_id')
    .select('run.id')
    .where('trigger_firing.model', '=', model)
    .where('trigger_name', '=', name)
    .where('run.status', 'in', ['queued', 'running'])
    .execute()
  for (const { id } of open) await requestCancel(tx, id, `${name} was cancelled by ${cause}`)
  await noteTrigger(tx, clock, { model, name, to: 'cancelled', cause })
}

async function noteTrigger(
  tx: Transaction<Database>,
  clock: Clock,
  { model, name, to, cause }: { model: string; name: string; to: string; cause: string },
): Promise<void> {
  await appendEvent(tx, {
    entity: 'trigger',
    entityId: `${model}/${name}`,
    from: null,
    to,
    cause,
    ...timesOf(clock),
    detail: { model },
  })
}
