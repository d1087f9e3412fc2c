import { sql, type Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import type { TrafficReport } from '../../kernel/contract/routing.ts'
import { compareAndSet } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { gatherMemberMachine } from './gather.ts'
import { gatherMembers } from './gather-store.ts'

type Counted = Pick<TrafficReport, 'endpoint' | 'model' | 'version' | 'origin' | 'trial' | 'requests' | 'failed'>

/** Whether a row of a report may be of a version that joins a gather. */
export const isOfJoining = ({ origin, trial }: Pick<Counted, 'origin' | 'trial'>): boolean =>
  origin === 'shadow' && trial === null

/**
 * Lets a version that was refused try once more: it gets copies anew.
 * @returns false where it was not refused
 */
export async function joinAgain(
  tx: Transaction<Database>,
  clock: Clock,
  wish: { endpoint: string; versionId: string; why: string; by: string },
): Promise<boolean> {
  const { endpoint, versionId } = wish
  const row = (await gatherMembers(tx, { endpoint })).find((member) => member.versionId === versionId)
  if (row?.status !== 'refused') return false
  const cause = `${wish.by}: ${wish.why}`
  const nowMs = clock.epochMs()
  return compareAndSet(tx, {
    table: 'gather_member',
    key: [endpoint, versionId],
    from: row.status,
    to: gatherMemberMachine.transition(row.status, 'join'),
    cause,
    atMs: nowMs,
    calendarMs: Math.round(clock.calendarMs()),
    set: { why: cause, requests: 0, failed: 0, began_at_ms: nowMs, status_at_ms: nowMs },
  })
}

/**
 * Counts copies for versions that join a gather, in the transaction that counts the traffic: so a restart goes on from
 * there, and nothing is counted twice.
 * @returns whether anything was counted
 */
export async function recordJoins(tx: Transaction<Database>, reports: readonly Counted[]): Promise<boolean> {
  let counted = false
  for (const report of reports) {
    if (!isOfJoining(report) || report.requests === 0) continue
    const { numUpdatedRows } = await tx
      .updateTable('gather_member')
      .set({ requests: sql`requests + ${report.requests}`, failed: sql`failed + ${report.failed}` })
      .where('endpoint', '=', report.endpoint)
      .where('version_id', '=', `${report.model}@${report.version}`)
      .where('status', '=', 'joining')
      .executeTakeFirst()
    if (numUpdatedRows > 0n) counted = true
  }
  return counted
}
