import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import { appendEvent, compareAndSet } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { freezeMachine, NO_CODE, type Freeze, type FreezeKind } from './freeze.ts'
import { activeFreezes } from './freeze-store.ts'

/** What any stage may ask of automatic release. All of it belongs to the caller's transaction. */

export interface FreezeRequest {
  model: string
  endpoint: string
  kind: FreezeKind
  why: string
  /** What would end it, for people: `unfreeze, or a change of the code`. */
  unfreezes: string
  by: string
  /** `rollback` only: of the version that lost; null for one that was imported. */
  codeDigest?: string | null
  /** `rollback` only: of the model's configuration now. */
  configDigest?: string | null
}

/**
 * Freezes automatic release on a model. Asked again while one of its kind is active, that one stands; after another
 * rollback it also waits for other code than what lost this time.
 * @returns the freeze's id
 */
export async function requestFreeze(tx: Transaction<Database>, clock: Clock, request: FreezeRequest): Promise<string> {
  const active = (await activeFreezes(tx, request.model)).find((f) => f.kind === request.kind)
  const lost = request.kind === 'rollback' ? (request.codeDigest ?? NO_CODE) : null
  if (active !== undefined) {
    if (lost !== null) await widen(tx, active, lost, request.configDigest ?? null)
    return active.id
  }
  const nowMs = clock.epochMs()
  const calendarMs = Math.round(clock.calendarMs())
  const { id } = await tx
    .insertInto('freeze')
    .values({
      model: request.model,
      endpoint: request.endpoint,
      kind: request.kind,
      status: 'active',
      why: request.why,
      unfreezes: request.unfreezes,
      code_digest: lost,
      config_digest: request.configDigest ?? null,
      created_by: request.by,
      created_at_ms: nowMs,
      created_calendar_ms: calendarMs,
    })
    // Somebody else's of the same moment stands; the transaction is then run again and finds it.
    .onConflict((conflict) => conflict.doNothing())
    .returning('id')
    .executeTakeFirstOrThrow()
  const detail = { model: request.model, endpoint: request.endpoint, kind: request.kind, by: request.by }
  const cause = `${request.model}: ${request.why}`
  await appendEvent(tx, {
    entity: 'freeze',
    entityId: id,
    from: null,
    to: 'active',
    cause,
    atMs: nowMs,
    calendarMs,
    detail,
  })
  return id
}

export type FreezeEnd = { by: string; why: string } & ({ id: string } | { model: string; kind?: FreezeKind })

/**
 * Ends one freeze by its id, or those that are active on a model, of one kind or of all.
 * @returns ids of those that ended now; empty where none was active
 */
export async function endFreeze(tx: Transaction<Database>, clock: Clock, end: FreezeEnd): Promise<string[]> {
  const isMeant = (f: Freeze) =>
    'id' in end ? f.id === end.id : f.model === end.model && (end.kind === undefined || f.kind === end.kind)
  const ended: string[] = []
  for (const freeze of (await activeFreezes(tx)).filter(isMeant)) {
    const nowMs = clock.epochMs()
    const moved = await compareAndSet(tx, {
      table: 'freeze',
      key: [freeze.id],
      from: freeze.status,
      to: freezeMachine.transition(freeze.status, 'end'),
      cause: `${freeze.model}: ${end.why}`,
      atMs: nowMs,
      calendarMs: Math.round(clock.calendarMs()),
      set: { ended_at_ms: nowMs, ended_by: end.by, ended_why: end.why },
      detail: { model: freeze.model, endpoint: freeze.endpoint, kind: freeze.kind, by: end.by },
    })
    if (moved) ended.push(freeze.id)
  }
  return ended
}

async function widen(tx: Transaction<Database>, freeze: Freeze, lost: string, config: string | null): Promise<void> {
  const codes = [...new Set([...freeze.codeDigests, lost])].join(' ')
  await tx
    .updateTable('freeze')
    .set({ code_digest: codes, config_digest: config ?? freeze.configDigest })
    .where('id', '=', freeze.id)
    .execute()
}
