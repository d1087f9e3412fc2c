import type { DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import { quoteText } from '../../kernel/lake/duckdb.ts'
import { arrivedWith, type LakeFile, type Manifest } from '../../kernel/lake/manifest.ts'
import { parquetFiles } from '../../kernel/lake/parquet-files.ts'
import type { BaselineProfile, ColumnProfile, NumericProfile } from '../evaluation/baseline-profile.ts'
import { inputValues, scoreValue, type LakeValue } from './lake-columns.ts'
import {
  addCounts,
  binEdges,
  HOUR_MS,
  type BucketCounts,
  type CountedBucket,
  type ObservedVersion,
} from './observation.ts'

/** Columns of one query: each keeps its bins in memory for every hour it meets. */
const COLUMNS_AT_ONCE = 100

export interface ProfiledVersion extends ObservedVersion {
  profile: BaselineProfile | null
}

/**
 * Counts the rows of prediction files that came after a manifest, per version, origin and stretch of calendar time,
 * over the bins of the versions' baseline profiles. A file's rows came all of them before or all of them after, see
 * decideCompaction.
 */
export async function countNewRows(
  connection: DuckDBConnection,
  lakeDir: string,
  manifest: Manifest,
  afterManifest: number,
  versions: ProfiledVersion[],
): Promise<CountedBucket[]> {
  const isNew = (file: LakeFile) => file.table === 'predictions' && arrivedWith(file) > afterManifest
  const groups = Map.groupBy(manifest.files.filter(isNew), (file) => JSON.stringify([file.model, file.schema]))
  const total = new Map<string, CountedBucket>()
  for (const files of groups.values()) {
    const { model, schema } = files[0]!
    const source = { from: parquetFiles(lakeDir, files), model: model!, columns: manifest.schemas[schema ?? ''] ?? [] }
    const known = versions.filter((version) => version.model === model)
    for (const bucket of await countSource(connection, source, known)) merge(total, bucket)
  }
  return [...total.values()]
}

interface Source {
  from: string
  model: string
  columns: Manifest['schemas'][string]
}

async function countSource(
  connection: DuckDBConnection,
  source: Source,
  versions: ProfiledVersion[],
): Promise<CountedBucket[]> {
  const buckets: CountedBucket[] = []
  for (const version of versions) {
    const where = `version = ${quoteText(version.version)}`
    const plain = await countPlain(connection, source, where, version.bucketMs)
    if (plain.length === 0) continue
    buckets.push(...plain, ...(await countValues(connection, source, version)))
  }
  const others =
    versions.length === 0 ? 'true' : `version NOT IN (${versions.map((v) => quoteText(v.version)).join(', ')})`
  const bucketMs = versions[0]?.bucketMs ?? HOUR_MS
  buckets.push(...(await countPlain(connection, source, others, bucketMs)))
  return buckets
}

/** Rows and requests, of whatever version. */
async function countPlain(
  connection: DuckDBConnection,
  { from, model }: Source,
  where: string,
  bucketMs: number,
): Promise<CountedBucket[]> {
  const rows = await queryRows(
    connection,
    `SELECT version, origin, ${bucketSql(bucketMs)} AS bucket, count(*), count(*) FILTER ("row" = 0),
       epoch_ms(max(predicted_at))
     FROM ${from} WHERE ${where} GROUP BY ALL`,
  )
  return rows.map(([version, origin, bucket, count, requests, lastAtMs]) => ({
    versionId: `${model}@${String(version)}`,
    origin: String(origin),
    bucketMs: Number(bucket),
    rows: Number(count),
    counts: { requests: Number(requests), lastAtMs: Number(lastAtMs), columns: {}, prediction: null },
  }))
}

interface CountedColumn {
  /** Null: the prediction. */
  name: string | null
  profile: ColumnProfile
  value: LakeValue
}

async function countValues(
  connection: DuckDBConnection,
  { from, model, columns: present }: Source,
  version: ProfiledVersion,
): Promise<CountedBucket[]> {
  const columns = countedColumns(version, present)
  const buckets: CountedBucket[] = []
  for (let at = 0; at < columns.length; at += COLUMNS_AT_ONCE) {
    const some = columns.slice(at, at + COLUMNS_AT_ONCE)
    const rows = await queryRows(
      connection,
      `SELECT origin, ${bucketSql(version.bucketMs)} AS bucket, count(*), ${some.map(countSql).join(', ')}
       FROM ${from} WHERE version = ${quoteText(version.version)} AND status = 200 GROUP BY ALL`,
    )
    for (const [origin, bucket, count, ...cells] of rows) {
      const counts: BucketCounts = { requests: 0, lastAtMs: 0, columns: {}, prediction: null }
      some.forEach((column, i) => {
        const bins = countsIn(column, Number(count), Number(cells[2 * i]), cells[2 * i + 1])
        if (column.name === null) counts.prediction = bins
        else counts.columns[column.name] = bins
      })
      const versionId = `${model}@${version.version}`
      buckets.push({ versionId, origin: String(origin), bucketMs: Number(bucket), rows: 0, counts })
    }
  }
  return buckets
}

/** What both the profile and the files have. */
function countedColumns(version: ProfiledVersion, present: Source['columns']): CountedColumn[] {
  const { profile, signature, scoreOutput } = version
  if (profile === null) return []
  const values = inputValues(signature, present)
  const columns: CountedColumn[] = profile.columns.flatMap((column) => {
    const value = values.get(column.name)
    return value === undefined ? [] : [{ name: column.name, profile: column, value }]
  })
  const score = scoreOutput === null ? null : scoreValue(signature, scoreOutput, present)
  return score === null ? columns : [...columns, { name: null, profile: profile.prediction, value: score }]
}

/** Two cells for a column: rows with a value, and a map of counts by bin. */
function countSql({ profile, value }: CountedColumn): string {
  if (profile.kind === 'categorical') {
    // An '=' before each: DuckDB counts what is in no bin under the empty text.
    const text = `'=' || ${value.sql}::VARCHAR`
    const bins = profile.top.map((entry) => quoteText(`=${entry.value}`))
    return `count(${value.sql}), histogram_exact(${text}, [${bins.join(', ')}]::VARCHAR[])`
  }
  const number = `(${value.sql})::${typeOf(value)}`
  const edges = edgesOf(profile, value).map((edge) => edge.toExponential())
  return `count(*) FILTER (NOT isnan(${number})),
    histogram(CASE WHEN isfinite(${number}) THEN ${number} END, [${edges.join(', ')}]::${typeOf(value)}[])`
}

function typeOf(value: LakeValue): 'FLOAT' | 'DOUBLE' {
  return value.type === 'FLOAT' ? 'FLOAT' : 'DOUBLE'
}

/**
 * The profile was cut on the values as they were written, and the lake holds what the model takes. Where that is
 * float32 the edges are rounded alike, so that a value that is an edge stays in its bin.
 */
function edgesOf(profile: NumericProfile, value: LakeValue): number[] {
  const edges = binEdges(profile)
  return typeOf(value) === 'FLOAT' ? edges.map(Math.fround) : edges
}

/** @param present - rows with a value @param map - DuckDB's: upper bound or text → rows */
function countsIn({ profile, value }: CountedColumn, rows: number, present: number, map: unknown): number[] {
  const found = entriesOf(map)
  const keys =
    profile.kind === 'categorical'
      ? profile.top.map((entry) => `=${entry.value}`)
      : [...edgesOf(profile, value), Number.POSITIVE_INFINITY]
  const bins = keys.map((key) => {
    const count = found.get(key) ?? 0
    // Two edges that float32 can't tell apart share one bin of DuckDB's.
    found.delete(key)
    return count
  })
  const inBins = bins.reduce((sum, count) => sum + count, 0)
  return [rows - present, present - inBins, ...bins]
}

function entriesOf(map: unknown): Map<unknown, number> {
  const { entries } = (map ?? { entries: [] }) as { entries: readonly { key: unknown; value: unknown }[] }
  return new Map(entries.map(({ key, value }) => [key, Number(value)]))
}

export function bucketSql(bucketMs: number): string {
  return `((epoch_ms(predicted_at) // ${bucketMs}) * ${bucketMs})`
}

export async function queryRows(connection: DuckDBConnection, sql: string): Promise<unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRows()
}

function merge(total: Map<string, CountedBucket>, bucket: CountedBucket): void {
  const key = JSON.stringify([bucket.versionId, bucket.origin, bucket.bucketMs])
  const known = total.get(key)
  if (known === undefined) total.set(key, bucket)
  else {
    known.rows += bucket.rows
    known.counts = addCounts(known.counts, bucket.counts)
  }
}
