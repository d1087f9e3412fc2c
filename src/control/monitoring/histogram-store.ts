import { sql, type Kysely, type Transaction } from 'kysely'
import type { Database } from '../../kernel/store/schema.ts'
import {
  addCounts,
  type BucketCounts,
  type CountedBucket,
  type Observation,
  type QualityBucket,
} from './observation.ts'

type Db = Kysely<Database> | Transaction<Database>

const WATERMARK = 'monitoring'

/** Number of the manifest whose rows are counted, and all before it. The ingest merges nothing that came later. */
export async function observedManifest(db: Db): Promise<number> {
  const row = await db.selectFrom('setting').select('value').where('key', '=', WATERMARK).executeTakeFirst()
  return row === undefined ? 0 : (row.value as { manifest: number }).manifest
}

/**
 * Adds what was counted and moves the watermark, both or neither.
 * @param afterManifest - what the job was asked to begin after
 * @returns false where somebody has moved the watermark meanwhile: then nothing is added
 */
export async function recordObservation(
  tx: Transaction<Database>,
  afterManifest: number,
  seen: Pick<Observation, 'manifest' | 'buckets'>,
): Promise<boolean> {
  if ((await observedManifest(tx)) !== afterManifest) return false
  const value = JSON.stringify({ manifest: seen.manifest })
  await tx
    .insertInto('setting')
    .values({ key: WATERMARK, value })
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ value }))
    .execute()
  for (const bucket of seen.buckets) await addBucket(tx, bucket)
  return true
}

async function addBucket(tx: Transaction<Database>, bucket: CountedBucket): Promise<void> {
  const key = { version_id: bucket.versionId, origin: bucket.origin, bucket_ms: bucket.bucketMs }
  const before = await tx
    .selectFrom('histogram')
    .select(['rows', 'counts'])
    .where('version_id', '=', key.version_id)
    .where('origin', '=', key.origin)
    .where('bucket_ms', '=', key.bucket_ms)
    .executeTakeFirst()
  const rows = bucket.rows + (before?.rows ?? 0)
  const sum = before === undefined ? bucket.counts : addCounts(before.counts as BucketCounts, bucket.counts)
  const counts = JSON.stringify(sum)
  await tx
    .insertInto('histogram')
    .values({ ...key, rows, counts })
    .onConflict((conflict) => conflict.columns(['version_id', 'origin', 'bucket_ms']).doUpdateSet({ rows, counts }))
    .execute()
}

export interface HistogramBucket {
  bucketMs: number
  rows: number
  counts: BucketCounts
}

/** Live rows of a version in [fromMs, toMs), by bucket. */
export async function liveBuckets(db: Db, versionId: string, fromMs: number, toMs: number): Promise<HistogramBucket[]> {
  const rows = await db
    .selectFrom('histogram')
    .select(['bucket_ms', 'rows', 'counts'])
    .where('version_id', '=', versionId)
    .where('origin', '=', 'live')
    .where('bucket_ms', '>=', fromMs)
    .where('bucket_ms', '<', toMs)
    .orderBy('bucket_ms')
    .execute()
  return rows.map((row) => ({ bucketMs: row.bucket_ms, rows: row.rows, counts: row.counts as BucketCounts }))
}

/** Live requests of a model, of whatever version, by bucket in [fromMs, toMs), and when the last one came. */
export async function liveRequests(
  db: Db,
  model: string,
  fromMs: number,
  toMs: number,
): Promise<{ bucketMs: number; requests: number; lastAtMs: number }[]> {
  const rows = await db
    .selectFrom('histogram')
    .select(['bucket_ms', 'counts'])
    .where(sql`split_part(version_id, '@', 1)`, '=', model)
    .where('origin', '=', 'live')
    .where('bucket_ms', '>=', fromMs)
    .where('bucket_ms', '<', toMs)
    .execute()
  return rows.map((row) => {
    const { requests, lastAtMs } = row.counts as BucketCounts
    return { bucketMs: row.bucket_ms, requests, lastAtMs }
  })
}

/** Replaces what was measured of these buckets before: labels that came since are in the new figures. */
export async function recordQuality(tx: Transaction<Database>, buckets: QualityBucket[]): Promise<void> {
  for (const bucket of buckets) {
    const values = {
      predictions: bucket.predictions,
      labelled: bucket.labelled,
      loss_sum: bucket.lossSum,
      loss_squares: bucket.lossSquares,
      label_sum: bucket.labelSum,
      score_sum: bucket.scoreSum,
    }
    await tx
      .insertInto('quality')
      .values({ version_id: bucket.versionId, bucket_ms: bucket.bucketMs, ...values })
      .onConflict((conflict) => conflict.columns(['version_id', 'bucket_ms']).doUpdateSet(values))
      .execute()
  }
}

export async function qualityBuckets(
  db: Db,
  versionId: string,
  fromMs: number,
  toMs: number,
): Promise<QualityBucket[]> {
  const rows = await db
    .selectFrom('quality')
    .selectAll()
    .where('version_id', '=', versionId)
    .where('bucket_ms', '>=', fromMs)
    .where('bucket_ms', '<', toMs)
    .orderBy('bucket_ms')
    .execute()
  return rows.map((row) => ({
    versionId: row.version_id,
    bucketMs: row.bucket_ms,
    predictions: row.predictions,
    labelled: row.labelled,
    lossSum: row.loss_sum,
    lossSquares: row.loss_squares,
    labelSum: row.label_sum,
    scoreSum: row.score_sum,
  }))
}

/** Deletes buckets that ended before `beforeMs` (calendar). @returns how many */
export async function forgetBuckets(tx: Transaction<Database>, beforeMs: number): Promise<number> {
  const gone = await tx.deleteFrom('histogram').where('bucket_ms', '<', beforeMs).executeTakeFirst()
  const alsoGone = await tx.deleteFrom('quality').where('bucket_ms', '<', beforeMs).executeTakeFirst()
  return Number(gone.numDeletedRows + alsoGone.numDeletedRows)
}
