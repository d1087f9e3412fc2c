import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import { appendEvent, timesOf } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { Deployment } from './release.ts'

/**
 * Another number of replicas for a deployment, with its event; whoever looks next starts or stops them.
 * @returns false where it has ended, or has another number since it was looked at
 */
export async function scaleDeployment(
  tx: Transaction<Database>,
  clock: Clock,
  { id, replicasWanted }: Pick<Deployment, 'id' | 'replicasWanted'>,
  to: number,
  why: string,
): Promise<boolean> {
  const changed = await tx
    .updateTable('deployment')
    .set({ replicas_wanted: to, scaled_why: why, scaled_at_ms: clock.epochMs() })
    .where('id', '=', id)
    .where('replicas_wanted', '=', replicasWanted)
    .where('status', 'in', ['starting', 'ready'])
    .executeTakeFirst()
  if (changed.numUpdatedRows === 0n) return false
  const times = timesOf(clock)
  const [from, wanted] = [countText(replicasWanted), countText(to)]
  await appendEvent(tx, { entity: 'replicas', entityId: id, from, to: wanted, cause: why, ...times })
  return true
}

const countText = (replicas: number) => (replicas === 1 ? '1 replica' : `${replicas} replicas`)
