import type { Kysely } from 'kysely'
import type { Database } from '../../kernel/store/schema.ts'
import type { Step } from './run.ts'
import { stepsByName, stepsOf } from './run-store.ts'

/**
 * The steps of open runs, for who looks again and again: read once, and then only those that can have moved. A look at a
 * run of a thousand steps costs what moves of it, not what waits.
 *
 * What waits is moved by nobody but the run controller, which says so (`touch`) whether it succeeded or not; what runs
 * may move at any time. What is stale in spite of that is found out by compare-and-set, and costs another look.
 */
export class RunSteps {
  /** By run, then by name, in the order of the steps; as they were last seen. */
  readonly #seen = new Map<string, Map<string, Step>>()
  /** By run: names of steps that somebody has tried to move since they were read. */
  readonly #touched = new Map<string, Set<string>>()

  async read(db: Kysely<Database>, runId: string): Promise<Step[]> {
    const seen = this.#seen.get(runId)
    if (seen === undefined) return this.#readAll(db, runId)
    const touched = this.#touched.get(runId) ?? new Set()
    const running = [...seen.values()].filter(({ status }) => status === 'running').map(({ name }) => name)
    const found = await stepsByName(db, runId, [...new Set([...touched, ...running])])
    for (const step of found) {
      seen.set(step.name, step)
      touched.delete(step.name)
    }
    return [...seen.values()]
  }

  /** To be called for each step that is about to be moved: it is read again. */
  touch(runId: string, step: string): void {
    this.#touched.set(runId, (this.#touched.get(runId) ?? new Set()).add(step))
  }

  /** Drops all but these runs. */
  keep(runIds: readonly string[]): void {
    for (const known of [this.#seen, this.#touched])
      for (const runId of known.keys()) if (!runIds.includes(runId)) known.delete(runId)
  }

  async #readAll(db: Kysely<Database>, runId: string): Promise<Step[]> {
    this.#touched.delete(runId)
    const steps = await stepsOf(db, runId)
    this.#seen.set(runId, new Map(steps.map((step) => [step.name, step])))
    return steps
  }
}
