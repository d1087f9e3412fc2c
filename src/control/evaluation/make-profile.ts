import { rm } from 'node:fs/promises'
import type { DataSource } from '../../config/project.ts'
import type { DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import { numericProfile, type BaselineProfile } from './baseline-profile.ts'
import type { ScoredModel } from './figures.ts'
import { profileColumns } from './profile-source.ts'
import type { Holdout } from './score-holdout.ts'
import { materialise, parquet } from './source.ts'

export interface ProfileOrder {
  trainingRows: DataSource | null
  projectRoot: string
  seed: number
  /** The materialised holdout; training rows are put beside it for as long as they are read. */
  holdoutPath: string
}

/** The inputs as in training, where training rows are declared; the prediction as on the holdout, which is unseen. */
export async function makeProfile(
  connection: DuckDBConnection,
  input: ProfileOrder,
  holdout: Holdout,
  { signature, scoreOutput, scores }: ScoredModel,
): Promise<BaselineProfile> {
  const inputs = input.trainingRows
    ? await profileTraining(connection, input, input.trainingRows, signature)
    : await profileColumns(connection, { ...holdout, source: 'holdout', seed: input.seed }, signature)
  return { ...inputs, prediction: numericProfile(scoreOutput.output, scores) }
}

async function profileTraining(
  connection: DuckDBConnection,
  { projectRoot, seed, holdoutPath }: ProfileOrder,
  source: DataSource,
  signature: Signature,
): Promise<Omit<BaselineProfile, 'prediction'>> {
  const path = `${holdoutPath}.training`
  try {
    const rows = await materialise(connection, { name: 'training rows', source, root: projectRoot }, path, seed)
    return await profileColumns(connection, { relation: parquet(path), rows, source: 'training', seed }, signature)
  } finally {
    await rm(path, { force: true })
  }
}
