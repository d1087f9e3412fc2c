import { dirname, join } from 'node:path'
import { FeatureTableError } from '../../kernel/features/errors.ts'
import type { PlacedTable } from '../../kernel/features/feature-source.ts'
import type { ModelFiles } from './model-files.ts'
import type { Lineage } from './version.ts'

/**
 * Where the tables of a version lie once its files are laid out. Pure.
 * @param asOfMs - of the run that made them
 * @throws FeatureTableError where one is not among the files of the version
 */
export function placedTables(
  { path, externalDigests }: Pick<ModelFiles, 'path' | 'externalDigests'>,
  tables: Lineage['tables'],
  asOfMs: number,
): PlacedTable[] {
  return (tables ?? []).map((declared) => {
    const { table } = declared
    const digest = externalDigests[table]
    if (digest === undefined)
      throw new FeatureTableError(table, 'it is not among the files of the version', 'Train the version again.')
    return { ...declared, path: join(dirname(path), table), digest, asOfMs }
  })
}
