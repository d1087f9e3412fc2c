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
  // `origin` is a column of every prediction (live, shadow …): an input of that name is stored as `input_origin`.
  const columns = features.map((name) => (name === 'origin' ? 'input_origin' : name))
  const { rows } = await millrace.query(
    `select prediction_id, version, late_probability, label, ${columns.join(', ')}
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

/** Predictions of the model by origin: `live`, `shadow` and so on. The model's own view has the live ones alone. */
export async function readOrigins(millrace: Millrace, model: string): Promise<Record<string, number>> {
  const { rows } = await millrace.query(
    `select origin, count(*)::integer from predictions_all where model = '${model}' group by all order by all`,
    100,
  )
  return Object.fromEntries(rows.map(([origin, count]) => [String(origin), Number(count)]))
}
