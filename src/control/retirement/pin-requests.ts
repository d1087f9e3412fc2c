import { sql, type Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import type { TrafficReport } from '../../kernel/contract/routing.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { beginUse, lockVersion } from './retirement-requests.ts'
import { retirementOf } from './retirement-store.ts'

type Tx = Transaction<Database>

/** Callers of one version that are told apart; those that come later are counted together. */
const CALLERS_MAX = 100
export const OTHER_CALLERS = '(others)'

type Called = Pick<TrafficReport, 'model' | 'version' | 'origin' | 'requests' | 'pinned'>

/**
 * Notes who called which version by its number, and when each version was called at all, in the transaction that
 * counts the traffic; what asks a version as a member of a gather calls it too. A call by number keeps a version that was proposed; one that comes while it drains revives it.
 */
export async function recordPins(tx: Tx, clock: Clock, reports: readonly Called[]): Promise<void> {
  for (const report of reports) {
    const isUse = report.origin === 'live' || report.origin === 'member'
    if (!isUse || !NUMBER.test(report.version)) continue
    const versionId = `${report.model}@${report.version}`
    if (report.requests > 0) await recordUse(tx, clock, versionId, report.requests)
    const callers = report.pinned.filter((p) => p.requests > 0)
    if (callers.length === 0) continue
    await keepForCaller(tx, clock, versionId, callers[0]!.caller)
    for (const { caller, requests } of callers) await recordPin(tx, clock, versionId, caller, requests)
  }
}

/** Rows of a gather itself name all of its members, and those that nobody was drawn for none: no version was used. */
const NUMBER = /^\d+$/

async function recordUse(tx: Tx, clock: Clock, versionId: string, requests: number): Promise<void> {
  const nowMs = Math.round(clock.calendarMs())
  await tx
    .insertInto('version_use')
    .values({ version_id: versionId, first_calendar_ms: nowMs, last_calendar_ms: nowMs, longest_gap_ms: 0, requests })
    .onConflict((conflict) =>
      conflict.column('version_id').doUpdateSet({
        // A calendar that was set backwards makes no gap, and takes nothing back.
        longest_gap_ms: sql`greatest(version_use.longest_gap_ms, excluded.last_calendar_ms - version_use.last_calendar_ms)`,
        last_calendar_ms: sql`greatest(version_use.last_calendar_ms, excluded.last_calendar_ms)`,
        requests: sql`version_use.requests + excluded.requests`,
      }),
    )
    .execute()
}

async function keepForCaller(tx: Tx, clock: Clock, versionId: string, caller: string): Promise<void> {
  await lockVersion(tx, versionId)
  const status = (await retirementOf(tx, versionId))?.status ?? 'kept'
  // An answer of what is deleted was given before; what is cold was asked for in vain, and is not revived by that.
  if (status === 'proposed' || status === 'draining')
    await beginUse(tx, clock, { versionId, what: `calls by its number by ${caller}`, by: caller })
}

async function recordPin(tx: Tx, clock: Clock, versionId: string, caller: string, requests: number): Promise<void> {
  const known = await tx.selectFrom('pin').select('caller').where('version_id', '=', versionId).execute()
  const isKnown = known.some((k) => k.caller === caller)
  const nowMs = Math.round(clock.calendarMs())
  await tx
    .insertInto('pin')
    .values({
      version_id: versionId,
      caller: isKnown || known.length < CALLERS_MAX ? caller : OTHER_CALLERS,
      first_calendar_ms: nowMs,
      last_calendar_ms: nowMs,
      requests,
    })
    .onConflict((conflict) =>
      conflict.columns(['version_id', 'caller']).doUpdateSet({
        last_calendar_ms: sql`greatest(pin.last_calendar_ms, excluded.last_calendar_ms)`,
        requests: sql`pin.requests + excluded.requests`,
      }),
    )
    .execute()
}
