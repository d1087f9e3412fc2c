import type { Kysely } from 'kysely'
import type { ModelConfig } from '../../config/project.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { monitorStates } from './monitor-store.ts'
import { RIPENESS } from './windows.ts'

/** Up to which calendar time the windows of each kind have been judged; null where nothing is watched. */
export async function monitoredUntil(
  db: Kysely<Database>,
  model: ModelConfig,
): Promise<{ dataMs: number | null; labelsMs: number | null }> {
  const states = await monitorStates(db, model.name)
  const until = (ripeness: 'data' | 'labels') => {
    const names = model.monitors.monitors.filter((m) => RIPENESS[m.name] === ripeness).map((m) => m.name)
    const reached = names.map((name) => states.find((s) => s.monitor === name && s.subject === '')?.judgedUntilMs)
    const known = reached.filter((ms) => ms !== undefined)
    return known.length === 0 || known.length < names.length ? null : Math.min(...known)
  }
  return { dataMs: until('data'), labelsMs: until('labels') }
}
