import { quoteName } from '../../kernel/lake/duckdb.ts'
import type { DuckDBConnection } from '../../kernel/lake/duckdb.ts'
import type { Datatype, Signature } from '../../kernel/model/signature.ts'
import { categoricalProfile, numericProfile } from './baseline-profile.ts'
import type { BaselineProfile, ColumnProfile } from './baseline-profile.ts'
import { featuresOf } from './features.ts'
import { columnsOf, readableColumn, readBlocks, readColumn, requireColumns } from './source.ts'
import type { SourceColumn } from './source.ts'

/** More rows than this are profiled by a seeded sample: quantiles of a million rows are as good as those of a billion. */
export const PROFILE_ROWS = 1_000_000

/**
 * Profiles the model's input columns over a relation, one column at a time.
 * @param from.source - what the relation is, for the profile and for messages
 * @param limit - more rows than this are sampled
 * @throws SourceColumnError if a column is missing there or can't be read
 */
export async function profileColumns(
  connection: DuckDBConnection,
  from: { relation: string; rows: number; source: BaselineProfile['source']; seed: number },
  signature: Signature,
  limit = PROFILE_ROWS,
): Promise<Omit<BaselineProfile, 'prediction'>> {
  const where = from.source === 'training' ? 'training rows' : 'holdout'
  const present = await columnsOf(connection, from.relation)
  requireColumns(featuresOf(signature), present, 'The baseline profile', where)
  const relation = from.rows <= limit ? from.relation : await sample(connection, from, signature, limit)
  const columns: ColumnProfile[] = []
  for (const [name, datatype] of datatypes(signature)) {
    const column = present.find((candidate) => candidate.name === name)!
    columns.push(await profileColumn(connection, relation, column, datatype, where))
  }
  return { format: 1, source: from.source, rows: from.rows, profiledRows: Math.min(from.rows, limit), columns }
}

async function sample(
  connection: DuckDBConnection,
  { relation, seed }: { relation: string; seed: number },
  signature: Signature,
  rows: number,
): Promise<string> {
  const columns = featuresOf(signature).map(quoteName).join(', ')
  await connection.run(
    `CREATE OR REPLACE TEMP TABLE profile_sample AS SELECT ${columns} FROM ${relation}
     USING SAMPLE reservoir(${rows} ROWS) REPEATABLE (${Math.abs(seed) % 2_147_483_647})`,
  )
  return 'profile_sample'
}

function datatypes(signature: Signature): Map<string, Datatype> {
  return new Map(
    signature.inputs.flatMap(({ columns, datatype }) => (columns ?? []).map((name) => [name, datatype] as const)),
  )
}

/** What `readableColumn` leaves of all types. */
type Readable = number | bigint | boolean | string

/** The model's type decides, not the file's: what it reads as text has categories, what it reads as numbers has quantiles. */
async function profileColumn(
  connection: DuckDBConnection,
  relation: string,
  column: SourceColumn,
  datatype: Datatype,
  where: string,
): Promise<ColumnProfile> {
  const expression = readableColumn(column, where)
  if (datatype === 'BYTES' || datatype === 'BOOL') {
    const values = await readColumn(connection, relation, expression)
    return categoricalProfile(
      column.name,
      values.map((value) => (value === null ? null : String(value as Readable))),
    )
  }
  return numericProfile(column.name, await readNumbers(connection, relation, `TRY_CAST(${expression} AS DOUBLE)`))
}

async function readNumbers(connection: DuckDBConnection, relation: string, expression: string): Promise<Float64Array> {
  const blocks: Float64Array[] = []
  for await (const [block] of readBlocks(connection, relation, [expression])) {
    blocks.push(Float64Array.from(block!, (value) => (value === null ? NaN : (value as number))))
  }
  const all = new Float64Array(blocks.reduce((length, block) => length + block.length, 0))
  let at = 0
  for (const block of blocks) {
    all.set(block, at)
    at += block.length
  }
  return all
}
