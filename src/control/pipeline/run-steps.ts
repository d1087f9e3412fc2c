import type { Kysely } from 'kysely'
import type { Database } from '../../kernel/store/schema.ts'
import { stepMachine, type Step } from './run.ts'
import { stepsByName, stepsOf } from './run-store.ts'

/**
 * The steps of open runs, for who looks again and again. What a step is never changes, nor does a step that has ended:
 * such are read once, and a look at a run of a thousand steps costs what is open of it.
 */
export class RunSteps {
  /** By run, then by name, in the order of the steps; as they were last seen. */
  readonly #seen = new Map<string, Map<string, Step>>()

  async read(db: Kysely<Database>, runId: string): Promise<Step[]> {
    const seen = this.#seen.get(runId)
    if (seen === undefined) {
      const steps = await stepsOf(db, runId)
      this.#seen.set(runId, new Map(steps.map((step) => [step.name, step])))
      return steps
    }
    const open = await openSteps(db, runId)
    for (const now of open) seen.set(now.name, { ...seen.get(now.name)!, ...now })
    const stillOpen = new Set(open.map(({ name }) => name))
    const ended = [...seen.values()].filter(({ name, status }) => !stepMachine.isFinal(status) && !stillOpen.has(name))
    const names = ended.map(({ name }) => name)
    for (const step of await stepsByName(db, runId, names)) seen.set(step.name, step)
    return [...seen.values()]
  }

  /** Drops all but these runs. */
  keep(runIds: readonly string[]): void {
    for (const runId of this.#seen.keys()) if (!runIds.includes(runId)) this.#seen.delete(runId)
  }
}

/** What can differ from one look to the next while a step has not ended. */
async function openSteps(db: Kysely<Database>, runId: string) {
  const rows = await db
    .selectFrom('step')
    .select(['name', 'status', 'why', 'retry_at_ms', 'started_at_ms'])
    .where('run_id', '=', runId)
    .where('status', 'in', ['waiting', 'running'])
    .execute()
  return rows.map((row) => ({
    name: row.name,
    status: stepMachine.parse(row.status),
    why: row.why,
    retryAtMs: row.retry_at_ms,
    startedAtMs: row.started_at_ms,
  }))
}
