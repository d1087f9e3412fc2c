import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import { appendEvent, compareAndSet, timesOf } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { NotRetiredError, VersionDeletedError } from './errors.ts'
import {
  decideUse,
  retirementMachine,
  type Retirement,
  type RetirementEvent,
  type RetirementPolicy,
} from './retirement.ts'
import { retirementOf } from './retirement-store.ts'

type Tx = Transaction<Database>

/**
 * The first act of whoever begins a use of a version (release, rollback, alias, evaluation) and of every step of its
 * retirement: of two at once the second sees what the first has done.
 */
export async function lockVersion(tx: Tx, versionId: string): Promise<void> {
  await tx.selectFrom('version').select('id').where('id', '=', versionId).forUpdate().execute()
}

/**
 * Begins a use in the caller's transaction: a version that was proposed is kept, one that is draining, stopped or cold
 * is revived with it.
 * @param use.what - for people: `release-4`, `the alias stable`
 * @throws VersionDeletedError where its files are gone or going
 */
export async function beginUse(
  tx: Tx,
  clock: Clock,
  use: { versionId: string; what: string; by: string },
): Promise<void> {
  await lockVersion(tx, use.versionId)
  const current = await retirementOf(tx, use.versionId)
  if (current === null) return
  const decision = decideUse(current.status)
  if (decision === 'use') return
  if (decision === 'refuse') throw new VersionDeletedError(use.versionId, use.what)
  await moveRetirement(tx, clock, current, decision, { policy: 'use', why: `used for ${use.what}`, by: use.by })
}

/** A person wants a version out of service. The caller has asked the in-use guard within the same transaction. */
export async function proposeRetirement(
  tx: Tx,
  clock: Clock,
  proposal: { versionId: string; model: string; policy: RetirementPolicy; why: string; by: string; heldBy: string[] },
): Promise<boolean> {
  const current = await retirementOf(tx, proposal.versionId)
  const status = current?.status ?? 'kept'
  if (status !== 'kept') throw new NotRetiredError(proposal.versionId, status, 'retired')
  if (current === null) await insertKept(tx, clock, proposal)
  const kept = current ?? (await retirementOf(tx, proposal.versionId))!
  return moveRetirement(tx, clock, kept, 'propose', proposal)
}

/**
 * A person protects a version from every policy; one that was proposed is kept, one that is out of service revived.
 * @param wish.untilCalendarMs - null: for good
 * @throws VersionDeletedError
 */
export async function keepVersion(
  tx: Tx,
  clock: Clock,
  wish: { versionId: string; model: string; why: string; by: string; untilCalendarMs: number | null },
): Promise<void> {
  await beginUse(tx, clock, { versionId: wish.versionId, what: `keeping it: ${wish.why}`, by: wish.by })
  const current = await retirementOf(tx, wish.versionId)
  if (current === null) await insertKept(tx, clock, { ...wish, policy: 'person' })
  const { why, by, untilCalendarMs } = wish
  await tx
    .updateTable('retirement')
    .set({ policy: 'person', why, by, held_by: '[]', kept_until_calendar_ms: untilCalendarMs, ...statusTimes(clock) })
    .where('version_id', '=', wish.versionId)
    .execute()
  const until = untilCalendarMs === null ? 'for good' : `until ${new Date(untilCalendarMs).toISOString()}`
  await event(tx, clock, wish.versionId, 'kept', 'kept', `${by}: ${why} (${until})`, { policy: 'person', by })
}

/** Back from draining, stopped or cold. @throws VersionDeletedError, NotRetiredError where it is in service */
export async function reviveVersion(
  tx: Tx,
  clock: Clock,
  wish: { versionId: string; why: string; by: string },
): Promise<void> {
  await lockVersion(tx, wish.versionId)
  const current = await retirementOf(tx, wish.versionId)
  const status = current?.status ?? 'kept'
  if (decideUse(status) === 'refuse') throw new VersionDeletedError(wish.versionId, 'anything')
  if (current === null || status === 'kept') throw new NotRetiredError(wish.versionId, status, 'revived')
  const asked = status === 'proposed' ? 'keep' : 'revive'
  // Revived is not protected, as `keep` does: a policy may propose it again after the grace it gives what was revived.
  await moveRetirement(tx, clock, current, asked, { policy: 'use', why: wish.why, by: wish.by })
}

/** One step, with its event. @returns false where somebody else was first */
export async function moveRetirement(
  tx: Tx,
  clock: Clock,
  current: Retirement,
  step: RetirementEvent,
  facts: { policy: RetirementPolicy; why: string; by: string; heldBy?: string[] },
): Promise<boolean> {
  const { policy, why, by } = facts
  const begins = step === 'propose' ? { proposed_at_ms: clock.epochMs(), kept_until_calendar_ms: null } : {}
  return compareAndSet(tx, {
    table: 'retirement',
    key: [current.versionId],
    from: current.status,
    to: retirementMachine.transition(current.status, step),
    cause: `${policy}: ${why}`,
    ...timesOf(clock),
    set: { policy, why, by, held_by: JSON.stringify(facts.heldBy ?? []), ...statusTimes(clock), ...begins },
    detail: { policy, by, model: current.model },
  })
}

async function insertKept(
  tx: Tx,
  clock: Clock,
  facts: { versionId: string; model: string; policy: RetirementPolicy; why: string; by: string },
): Promise<void> {
  const { versionId, model, policy, why, by } = facts
  await tx
    .insertInto('retirement')
    .values({
      version_id: versionId,
      model,
      status: 'kept',
      policy,
      why,
      by,
      held_by: '[]',
      proposed_at_ms: clock.epochMs(),
      ...statusTimes(clock),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

const statusTimes = (clock: Clock) => ({
  status_at_ms: clock.epochMs(),
  status_calendar_ms: Math.round(clock.calendarMs()),
})

function event(
  tx: Tx,
  clock: Clock,
  id: string,
  from: string,
  to: string,
  cause: string,
  detail: unknown,
): Promise<void> {
  const times = timesOf(clock)
  return appendEvent(tx, { entity: 'retirement', entityId: id, from, to, cause, ...times, detail })
}
