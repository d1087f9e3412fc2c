import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import { appendEvent, timesOf } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { routeOf } from './release-store.ts'

type Tx = Transaction<Database>

/**
 * Takes an endpoint out of service: gateways answer with its fallback from the next snapshot on. Its route stays as it
 * is and goes on being changed by releases, so that `enable` finds the champion there. An endpoint that nothing was
 * released to yet gets a row without members. Asked again it changes the reason.
 */
export async function disableEndpoint(
  tx: Tx,
  clock: Clock,
  wish: { endpoint: string; model: string; why: string; by: string },
): Promise<void> {
  const { endpoint, model, why, by } = wish
  const before = (await routeOf(tx, endpoint))?.disabled ?? null
  const disabled = JSON.stringify({ why, by, sinceMs: before?.sinceMs ?? clock.epochMs() })
  await tx
    .insertInto('route')
    .values({ endpoint, model, members: '[]', updated_at_ms: clock.epochMs(), disabled })
    .onConflict((conflict) => conflict.column('endpoint').doUpdateSet({ disabled }))
    .execute()
  await say(tx, clock, endpoint, before === null ? 'enabled' : 'disabled', 'disabled', `${by}: ${why}`)
}

/** @returns false where it was not disabled */
export async function enableEndpoint(tx: Tx, clock: Clock, wish: { endpoint: string; by: string }): Promise<boolean> {
  const before = (await routeOf(tx, wish.endpoint))?.disabled ?? null
  if (before === null) return false
  await tx.updateTable('route').set({ disabled: null }).where('endpoint', '=', wish.endpoint).execute()
  await say(tx, clock, wish.endpoint, 'disabled', 'enabled', `${wish.by}; it was disabled for: ${before.why}`)
  return true
}

function say(tx: Tx, clock: Clock, endpoint: string, from: string, to: string, cause: string): Promise<void> {
  const times = timesOf(clock)
  return appendEvent(tx, { entity: 'endpoint', entityId: endpoint, from, to, cause, ...times })
}
