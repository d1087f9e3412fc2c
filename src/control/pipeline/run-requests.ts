import type { Kysely, Transaction } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import type { Clock } from '../../kernel/clock.ts'
import { appendEvent } from '../../kernel/store/state-machine.ts'
import type { Database } from '../../kernel/store/schema.ts'

/** What asked for a run. Backfills run after all others, and what they make is never released by itself. */
export type TriggerKind = 'manual' | 'newData' | 'cron' | 'alarm' | 'backfill'

export interface RunRequest {
  model: ModelConfig
  revisionId: number
  triggerKind: TriggerKind
  triggerWhy: string
  asOfMs: number
  params?: Record<string, string | number | boolean>
  seed?: number
  codeDigest: string
}

/** Appends a queued run with its steps. What the model's configuration says now stays with the run. */
export async function requestRun(tx: Transaction<Database>, clock: Clock, request: RunRequest): Promise<string> {
  const { pipeline } = request.model
  const { id } = await tx
    .insertInto('run')
    .values({
      model: request.model.name,
      revision_id: request.revisionId,
      status: 'queued',
      trigger_kind: request.triggerKind,
      trigger_why: request.triggerWhy,
      as_of_ms: Math.round(request.asOfMs),
      params: JSON.stringify({ ...pipeline.params, ...request.params }),
      seed: request.seed ?? pipeline.seed,
      code_digest: request.codeDigest,
      created_at_ms: clock.epochMs(),
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await tx
    .insertInto('step')
    .values(
      pipeline.steps.map((spec, position) => ({
        run_id: id,
        name: spec.name,
        position,
        status: 'waiting',
        spec: JSON.stringify(spec),
      })),
    )
    .execute()
  await appendEvent(tx, {
    entity: 'run',
    entityId: id,
    from: null,
    to: 'queued',
    cause: `${request.triggerKind}: ${request.triggerWhy}`,
    atMs: clock.epochMs(),
    calendarMs: clock.calendarMs(),
    detail: { model: request.model.name },
  })
  return id
}

/** Asks for the end of a run; the controller stops its processes. @returns false if it has ended or is being cancelled */
export async function requestCancel(db: Kysely<Database>, runId: string, why: string): Promise<boolean> {
  const result = await db
    .updateTable('run')
    .set({ cancel_why: why })
    .where('id', '=', runId)
    .where('status', 'in', ['queued', 'running'])
    .where('cancel_why', 'is', null)
    .executeTakeFirst()
  return result.numUpdatedRows > 0n
}
