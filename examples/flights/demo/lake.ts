import { keyFeatures, numberFeatures } from '../train/late-flight-model.ts'
import type { FlightFeatures } from './gateway-client.ts'
import type { Millrace } from './millrace-client.ts'
import type { LakeRow } from './report.ts'

/** A live prediction with the inputs that were logged. */
export type LoggedPrediction = LakeRow & { features: FlightFeatures }

const ROWS_MAX = 100_000
const IN_LAKE_LIMIT_MS = 60_000

/** Every live prediction of the model, with its label where it has come. */
export async function readLake(millrace: Millrace, model: string): Promise<LoggedPrediction[]> {
  const features = [...keyFeatures, ...numberFeatures]
  const { rows } = await millrace.query(
    `select prediction_id, version, late_probability, label, ${features.join(', ')}
     from "${model}"
     where origin = 'live'
     order by prediction_id`,
    ROWS_MAX,
  )
  return rows.map(([predictionId, version, probability, label, ...values]) => ({
    predictionId: predictionId as string,
    version: version as string,
    probability: probability as number,
    label: label === null ? null : Number(label),
    features: Object.fromEntries(features.map((name, index) => [name, values[index]])) as FlightFeatures,
  }))
}

/** Until everything that was acknowledged has gone from the spool to the lake, labels too. */
export async function untilInLake(millrace: Millrace, labels: number): Promise<void> {
  await millrace.until('the last predictions and labels to be in the lake', IN_LAKE_LIMIT_MS, async () => {
    const books = await millrace.reconciliation()
    return books.inSpool === 0 && books.agrees && books.labelsMatched >= labels ? true : null
  })
}
