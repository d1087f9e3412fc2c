import type { Clock } from '../clock.ts'
import type { Signature } from '../model/signature.ts'
import { Enricher } from './enricher.ts'
import type { PlacedTable } from './feature-source.ts'

/**
 * Reads the tables of a version into memory. DuckDB is loaded for this alone, so that a server of models without tables
 * does without it.
 * @throws FeatureTableError
 */
export async function openEnricher(
  placed: readonly PlacedTable[],
  model: Signature,
  clock: Pick<Clock, 'calendarMs'>,
): Promise<Enricher> {
  const { readFeatureTables } = await import('./read-tables.ts')
  const { tables, signature } = await readFeatureTables(placed, model)
  const timed = tables.map((table, i) => ({ ...table, asOfMs: placed[i]!.asOfMs }))
  return new Enricher(signature, timed, clock)
}
