import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { messageOf } from '../errors.ts'
import { openDuckDB, quoteName, quoteText } from '../lake/duckdb.ts'
import type { DuckDBConnection } from '../lake/duckdb.ts'
import type { Datatype, Signature } from '../model/signature.ts'
import { enrichedInputs } from './enriched-inputs.ts'
import { FeatureTableError } from './errors.ts'
import { keyName, TABLE_BYTES_MAX, TABLE_ROWS_MAX } from './feature-source.ts'
import type { PlacedTable } from './feature-source.ts'
import { FeatureTableBuilder } from './feature-table.ts'
import type { FeatureTable } from './feature-table.ts'

/** Reading a table takes the memory of its largest blocks, besides what is kept of it. */
const DUCKDB = { threads: 1, memoryLimitMb: 512 }

/**
 * Reads tables whole, and proves that each fits the model: bytes, size, one row per key, every value in the model's type.
 * @throws FeatureTableError saying which table, column and key
 */
export async function readFeatureTables(
  tables: readonly PlacedTable[],
  signature: Signature,
): Promise<{ tables: FeatureTable[]; signature: Signature }> {
  const database = await openDuckDB(DUCKDB)
  try {
    const read: FeatureTable[] = []
    for (const placed of tables) read.push(await readTable(database.connection, placed, signature))
    const keyed = read.map(({ declared, keyDatatype }) => ({ ...declared, keyDatatype }))
    return { tables: read, signature: { ...signature, enriched: enrichedInputs(signature, keyed) } }
  } finally {
    await database.close()
  }
}

async function readTable(
  connection: DuckDBConnection,
  placed: PlacedTable,
  signature: Signature,
): Promise<FeatureTable> {
  await verify(placed)
  const relation = `read_parquet(${quoteText(placed.path)})`
  const types = await typesOf(connection, relation, placed)
  const key = keyName(placed.key)
  const keyDatatype = keyDatatypeOf(placed, key, columnType(placed, types, key))
  // Whether the columns are the model's is known before any value is looked at.
  enrichedInputs(signature, [{ ...placed, keyDatatype }])
  const datatypes = new Map(placed.columns.map((name) => [name, datatypeOf(signature, name)]))
  const expressions = [key, ...placed.columns].map((name) => readable(placed, name, columnType(placed, types, name)))
  const rows = await countOf(connection, relation)
  if (rows > TABLE_ROWS_MAX)
    throw new FeatureTableError(
      placed.table,
      `it has ${rows} rows, of ${TABLE_ROWS_MAX} at most`,
      'Leave out keys that nobody asks for, or compute the columns in the graph.',
    )
  const builder = new FeatureTableBuilder(placed, keyDatatype, datatypes, rows)
  const result = await connection.stream(`SELECT ${expressions.join(', ')} FROM ${relation}`)
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return builder.table()
    builder.add(chunk.getColumns())
  }
}

async function verify({ table, path, digest }: PlacedTable): Promise<void> {
  const hash = createHash('sha256')
  try {
    const { size } = await stat(path)
    if (size > TABLE_BYTES_MAX)
      throw new FeatureTableError(
        table,
        `it has ${size} bytes, of ${TABLE_BYTES_MAX} at most`,
        'Leave out rows or columns.',
      )
    await pipeline(createReadStream(path), hash)
  } catch (cause) {
    if (cause instanceof FeatureTableError) throw cause
    throw new FeatureTableError(
      table,
      messageOf(cause),
      'Restore the artifact from a backup, or train the version again.',
      cause,
    )
  }
  const actual = `sha256:${hash.digest('hex')}`
  if (actual !== digest)
    throw new FeatureTableError(
      table,
      `its digest is ${actual}, and ${digest} was registered`,
      'Restore the artifact from a backup, or train the version again.',
    )
}

async function typesOf(
  connection: DuckDBConnection,
  relation: string,
  { table }: PlacedTable,
): Promise<Map<string, string>> {
  try {
    const described = await connection.runAndReadAll(`DESCRIBE SELECT * FROM ${relation}`)
    return new Map(described.getRowObjects().map((row) => [String(row['column_name']), String(row['column_type'])]))
  } catch (cause) {
    throw new FeatureTableError(
      table,
      `it can't be read as Parquet: ${messageOf(cause)}`,
      'Write it as one Parquet file, e.g. with pandas: table.to_parquet(path).',
      cause,
    )
  }
}

async function countOf(connection: DuckDBConnection, relation: string): Promise<number> {
  const counted = await connection.runAndReadAll(`SELECT count(*) AS rows FROM ${relation}`)
  return Number(counted.getRowObjects()[0]!['rows'])
}

function columnType({ table }: PlacedTable, types: Map<string, string>, name: string): string {
  const type = types.get(name)
  if (type !== undefined) return type
  throw new FeatureTableError(
    table,
    `it has no column '${name}'; its columns are ${[...types.keys()].slice(0, 40).join(', ')}`,
    'Write the column, or correct serving.enrich.',
  )
}

const INTEGER = /^U?(TINY|SMALL|BIG)?INT(EGER)?$/
const NUMBER = /^(FLOAT|DOUBLE|BOOLEAN)$/

function keyDatatypeOf({ table }: PlacedTable, key: string, type: string): Datatype {
  if (INTEGER.test(type)) return 'INT64'
  if (type === 'VARCHAR') return 'BYTES'
  throw new FeatureTableError(table, `its key '${key}' is ${type}`, 'Use whole numbers or text as keys.')
}

/** How a column is selected, alike for holdouts and tables. */
function readable({ table }: PlacedTable, name: string, type: string): string {
  if (INTEGER.test(type) || NUMBER.test(type) || type === 'VARCHAR') return quoteName(name)
  if (type.startsWith('DECIMAL')) return `CAST(${quoteName(name)} AS DOUBLE)`
  if (type.startsWith('ENUM') || type === 'UUID') return `CAST(${quoteName(name)} AS VARCHAR)`
  throw new FeatureTableError(
    table,
    `its column '${name}' is ${type}, which no model input can take`,
    'Turn it into numbers or text in training and here alike.',
  )
}

function datatypeOf({ inputs }: Signature, column: string): Datatype {
  return inputs.find(({ columns }) => columns?.includes(column))!.datatype
}
