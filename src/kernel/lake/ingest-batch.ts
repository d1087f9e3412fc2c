import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { LABEL_ROW_MAX, type LabelRecord, type PredictionRecord } from '../contract/prediction.ts'
import type { Signature } from '../model/signature.ts'
import type { SchemaColumns } from './columns.ts'
import { columnsOf, LABEL_FILE_COLUMNS } from './columns.ts'
import type { DuckDBConnection } from './duckdb.ts'
import { makeDir, syncDir } from './durable-files.ts'
import { MalformedRecordError } from './errors.ts'
import type { LakeTable } from './lake-files.ts'
import { dayOf, partitionDir } from './lake-files.ts'
import type { LakeColumn, LakeFile, ModelTotals } from './manifest.ts'
import { ParquetWriter, timestampOf } from './parquet-writer.ts'
import { rowsOf } from './rows.ts'
import { decodeBody, FRAME_HEAD_BYTES, kindOf } from './spool-format.ts'
import type { SegmentContent } from './segment-reader.ts'

/** A record that can't be taken in, with its bytes. */
export interface Refused {
  offset: number
  kind: 'prediction' | 'label' | 'other' | 'damaged'
  why: string
  bytes: Buffer
}

const DAY_MS = 86_400_000
/** Text columns whose values repeat from row to row. */
const REPEATING = new Set(['endpoint', 'model', 'version', 'origin', 'caller', 'trial', 'absent'])

interface Partition {
  file: Omit<LakeFile, 'path' | 'rows' | 'bytes'>
  writer: ParquetWriter
}

/** All that goes into the lake with one commit: one Parquet file per table, model, schema and day. */
export class IngestBatch {
  private readonly connection: DuckDBConnection
  private readonly partitions = new Map<string, Partition>()
  /** By the JSON of the signature: the same one stands in every segment. */
  private readonly columnsBySignature = new Map<string, SchemaColumns>()
  private arrival: number
  private lastDay = { number: Number.NaN, name: '' }
  readonly schemas: Record<string, LakeColumn[]> = {}
  readonly models: Record<string, Pick<ModelTotals, 'predictions' | 'rows'>> = {}
  predictions = 0
  rows = 0
  labels = 0

  /** @param arrival - labels ingested so far: decides which of two labels with the same time came later */
  constructor(connection: DuckDBConnection, arrival: number) {
    this.connection = connection
    this.arrival = arrival
  }

  /** Takes in one segment; what can't be read is handed back, never thrown. */
  async take(content: SegmentContent, bytes: Buffer): Promise<Refused[]> {
    const refused: Refused[] = content.damaged.map(({ offset, length }) => ({
      offset,
      kind: 'damaged',
      why: `${length} bytes with a wrong CRC`,
      bytes: bytes.subarray(offset, offset + length),
    }))
    const schemas = new Map<string, SchemaColumns>()
    for (const { body, offset } of content.bodies) {
      try {
        await this.takeBody(body, schemas)
      } catch (error) {
        if (!(error instanceof MalformedRecordError)) throw error
        const kind = kindOf(body)
        const frame = bytes.subarray(offset, offset + FRAME_HEAD_BYTES + body.length)
        const known = kind === 'prediction' || kind === 'label' ? kind : 'other'
        refused.push({ offset, kind: known, why: error.message, bytes: frame })
      }
    }
    return refused
  }

  /** Writes every partition's file and makes files and folders durable. Nothing is in the lake before the commit. */
  async write(lakeDir: string, manifest: number): Promise<LakeFile[]> {
    const files: LakeFile[] = []
    for (const { file, writer } of this.partitions.values()) {
      const path = await newFilePath(lakeDir, file.table, file.model, file.day, manifest)
      const bytes = await writer.finish(join(lakeDir, path))
      await syncDir(join(lakeDir, path, '..'))
      files.push({ path, ...file, rows: writer.rows, bytes })
    }
    return files
  }

  private async takeBody(body: Buffer, schemas: Map<string, SchemaColumns>): Promise<void> {
    const record = decodeBody(body)
    switch (record.kind) {
      case 'schema':
        schemas.set(versionKey(record.model, record.version), this.columnsOf(record.signature))
        return
      case 'prediction': {
        const schema = schemas.get(versionKey(record.model, record.version))
        if (schema === undefined)
          throw new MalformedRecordError(`no schema of ${record.model}@${record.version} before it`)
        return await this.takePrediction(record, schema)
      }
      case 'label':
        return await this.takeLabel(record)
      case 'header':
      case 'footer':
        return
    }
  }

  private async takePrediction(record: PredictionRecord, schema: SchemaColumns): Promise<void> {
    const day = this.fileDay(record.atMs)
    const { rows, cells } = rowsOf(record, schema)
    const { model } = record
    const partition = await this.partition('predictions', model, schema.digest, day, schema.columns)
    noteId(partition, record.predictionId)
    // Labels come by the id of the answer that the client got.
    if (record.shadowOf !== null) noteId(partition, record.shadowOf)
    partition.writer.add(rows, [...metaColumns(record, rows), ...cells])
    this.schemas[schema.digest] = schema.columns
    const totals = (this.models[model] ??= { predictions: 0, rows: 0 })
    totals.predictions++
    totals.rows += rows
    this.predictions++
    this.rows += rows
  }

  private async takeLabel(record: LabelRecord): Promise<void> {
    const { predictionId, row, label, atMs } = record
    // Before it reaches the file: an error there would be that of all records, and come again with each try.
    if (row > LABEL_ROW_MAX) throw new MalformedRecordError(`a label for row ${row}, of ${LABEL_ROW_MAX} at most`)
    const partition = await this.partition('labels', null, null, this.fileDay(atMs), LABEL_FILE_COLUMNS)
    noteId(partition, predictionId)
    const arrival = BigInt(this.arrival++)
    const values = [predictionId, row, String(label), numberOf(label), timestampOf(atMs), arrival]
    partition.writer.add(
      1,
      values.map((same) => ({ same })),
    )
    this.labels++
  }

  private async partition(
    table: LakeTable,
    model: string | null,
    schema: string | null,
    day: string,
    columns: readonly LakeColumn[],
  ): Promise<Partition> {
    // Digest and day have fixed forms, so no two partitions share a key.
    const key = `${table}|${schema ?? ''}|${day}|${model ?? ''}`
    const known = this.partitions.get(key)
    if (known !== undefined) return known
    const writer = await ParquetWriter.open(this.connection, `incoming_${this.partitions.size}`, columns, REPEATING)
    const made: Partition = { file: { table, model, day, schema, minId: '', maxId: '' }, writer }
    this.partitions.set(key, made)
    return made
  }

  /** Neighbours nearly always share their day, and a date is slow to write out. */
  private fileDay(atMs: number): string {
    const number = Math.floor(atMs / DAY_MS)
    if (number !== this.lastDay.number) this.lastDay = { number, name: readDay(atMs) }
    return this.lastDay.name
  }

  private columnsOf(signature: Signature): SchemaColumns {
    const key = JSON.stringify(signature)
    const known = this.columnsBySignature.get(key)
    if (known !== undefined) return known
    const columns = readColumns(signature)
    this.columnsBySignature.set(key, columns)
    return columns
  }
}

/** Folder created and durable, name not yet taken. Relative to the lake. */
export async function newFilePath(
  lakeDir: string,
  table: LakeTable,
  model: string | null,
  day: string,
  manifest: number,
): Promise<string> {
  const dir = partitionDir(table, model, day)
  await makeDir(join(lakeDir, dir))
  return `${dir}/${String(manifest).padStart(10, '0')}-${randomBytes(4).toString('hex')}.parquet`
}

function metaColumns(
  record: PredictionRecord,
  rows: number,
): (number[] | { same: string | number | null | ReturnType<typeof timestampOf> })[] {
  return [
    { same: record.predictionId },
    Array.from({ length: rows }, (_, row) => row),
    { same: timestampOf(record.atMs) },
    { same: record.endpoint },
    { same: record.model },
    { same: record.version },
    { same: record.origin },
    { same: record.caller },
    { same: record.latencyMs },
    { same: record.status },
    { same: record.trial },
    { same: record.shadowOf },
    { same: record.absent?.join(', ') ?? null },
  ]
}

function readDay(atMs: number): string {
  try {
    return dayOf(atMs)
  } catch {
    throw new MalformedRecordError(`${atMs} is no time`)
  }
}

/** A label as a number, where it is one: booleans are 1 and 0, text counts if it reads as a finite number. */
function numberOf(label: LabelRecord['label']): number | null {
  if (typeof label === 'boolean') return label ? 1 : 0
  const number = typeof label === 'string' ? (label.trim() === '' ? Number.NaN : Number(label)) : label
  return Number.isFinite(number) ? number : null
}

function noteId({ file }: Partition, id: string): void {
  if (file.minId === '' || id < file.minId) file.minId = id
  if (id > file.maxId) file.maxId = id
}

function readColumns(signature: Signature): SchemaColumns {
  try {
    return columnsOf(signature)
  } catch (error) {
    throw new MalformedRecordError(`its signature is not one: ${(error as Error).message}`)
  }
}

function versionKey(model: string, version: string): string {
  return `${model.length}:${model}@${version}`
}
