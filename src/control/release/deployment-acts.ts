import type { Kysely, Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { compareAndSet, timesOf } from '../../kernel/store/state-machine.ts'
import { deploymentMachine, replicaMachine, type Deployment, type Replica } from './release.ts'

type Tx = Transaction<Database>

/** @returns the id of the new deployment, whose replicas the next look starts */
export async function createDeployment(
  db: Kysely<Database> | Tx,
  clock: Clock,
  of: Pick<Deployment, 'endpoint' | 'model' | 'versionId' | 'replicasWanted' | 'discoverable'> & { why?: string },
): Promise<string> {
  const { id } = await db
    .insertInto('deployment')
    .values({
      endpoint: of.endpoint,
      model: of.model,
      version_id: of.versionId,
      status: 'starting',
      why: of.why,
      replicas_wanted: of.replicasWanted,
      discoverable: of.discoverable,
      created_at_ms: clock.epochMs(),
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  return id
}

/** @returns false where somebody else was first */
export function moveDeployment(
  tx: Tx,
  clock: Clock,
  deployment: Deployment,
  event: 'allReady' | 'drain' | 'drained' | 'fail',
  why: string,
): Promise<boolean> {
  const to = deploymentMachine.transition(deployment.status, event)
  const ended = deploymentMachine.isFinal(to) ? { ended_at_ms: clock.epochMs() } : {}
  return compareAndSet(tx, {
    table: 'deployment',
    key: [deployment.id],
    from: deployment.status,
    to,
    cause: why,
    ...timesOf(clock),
    set: { why, ...ended },
    detail: { version: deployment.versionId, endpoint: deployment.endpoint },
  })
}

/** @returns false where somebody else was first */
export function moveReplica(
  tx: Tx,
  clock: Clock,
  replica: Replica,
  event: 'stop' | 'gone',
  why: string,
): Promise<boolean> {
  const ended = event === 'gone' ? { ended_at_ms: clock.epochMs() } : {}
  // Of one that was told to stop the row goes on saying why it was.
  const reason = replica.status === 'stopping' ? {} : { why }
  return compareAndSet(tx, {
    table: 'replica',
    key: [replica.id],
    from: replica.status,
    to: replicaMachine.transition(replica.status, event),
    cause: why,
    ...timesOf(clock),
    set: { ...reason, ...ended },
    detail: { deployment: replica.deploymentId },
  })
}
