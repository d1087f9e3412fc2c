import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LabelRecord, PredictionRecord, SchemaRecord } from '../contract/prediction.ts'
import { newPredictionId } from '../contract/prediction-id.ts'
import type { Signature } from '../model/signature.ts'
import { NO_COUNTS, writeCounters } from './log-counters.ts'
import type { LogCounters } from './log-counters.ts'
import { segmentName } from './spool-files.ts'
import { encodeFrame } from './spool-format.ts'
import type { SegmentRecord } from './spool-format.ts'

/** Builders for tests of the spool and the lake: each states only what matters to its test. */
export const NOON_MS = Date.UTC(2001, 0, 2, 12)

export const FLIGHTS: Signature = {
  inputs: [
    { name: 'distance', datatype: 'FP32', shape: [-1, 1], columns: ['distance'] },
    { name: 'origin_airport', datatype: 'BYTES', shape: [-1, 1], columns: ['origin_airport'] },
  ],
  outputs: [{ name: 'late', datatype: 'FP32', shape: [-1], columns: null }],
}

export function schema(facts: Partial<SchemaRecord> = {}): SchemaRecord {
  return { kind: 'schema', model: 'late-flight', version: '1', signature: FLIGHTS, ...facts }
}

/** A prediction of FLIGHTS; `values` gives one row for each distance. */
export function prediction(facts: Partial<PredictionRecord> = {}, distances: number[] = [100]): PredictionRecord {
  const atMs = facts.atMs ?? NOON_MS
  return {
    kind: 'prediction',
    predictionId: newPredictionId(atMs),
    endpoint: 'late-flight',
    model: 'late-flight',
    version: '1',
    origin: 'live',
    caller: 'anonymous',
    atMs,
    latencyMs: 1.5,
    status: 200,
    trial: null,
    shadowOf: null,
    request: body('inputs', [
      { name: 'distance', datatype: 'FP32', shape: [distances.length, 1], data: distances },
      { name: 'origin_airport', datatype: 'BYTES', shape: [distances.length, 1], data: distances.map((d) => `A${d}`) },
    ]),
    response: body('outputs', [
      { name: 'late', datatype: 'FP32', shape: [distances.length], data: distances.map((d) => d / 1000) },
    ]),
    ...facts,
  }
}

export function label(
  predictionId: string,
  value: LabelRecord['label'],
  facts: Partial<LabelRecord> = {},
): LabelRecord {
  return { kind: 'label', predictionId, row: 0, label: value, atMs: NOON_MS + 86_400_000, ...facts }
}

export function body(key: 'inputs' | 'outputs', tensors: unknown[]): Buffer {
  return Buffer.from(JSON.stringify({ [key]: tensors }))
}

export interface SegmentFacts {
  instance?: string
  stream?: string
  sequence?: number
  /** Left open, as by a gateway that was killed. */
  open?: boolean
  counters?: LogCounters
}

export function segmentBytes(records: SegmentRecord[], facts: SegmentFacts = {}): Buffer {
  const { instance = 'gateway-1', stream = 'a1', counters = NO_COUNTS } = facts
  return Buffer.concat([
    encodeFrame({ kind: 'header', stream, instance, openedAtMs: NOON_MS, counters }),
    ...records.map(encodeFrame),
  ])
}

export async function writeSegment(
  spoolDir: string,
  records: SegmentRecord[],
  facts: SegmentFacts = {},
): Promise<string> {
  const dir = join(spoolDir, facts.instance ?? 'gateway-1')
  await mkdir(dir, { recursive: true })
  const path = join(dir, segmentName(facts.sequence ?? 1, facts.open !== true))
  await writeFile(path, segmentBytes(records, facts))
  return path
}

export async function writeGatewayCounters(
  spoolDir: string,
  counters: Partial<LogCounters>,
  instance = 'gateway-1',
): Promise<void> {
  await mkdir(join(spoolDir, instance), { recursive: true })
  await writeCounters(join(spoolDir, instance), { ...NO_COUNTS, ...counters })
}

/** A fresh pair of folders under the system's temporary one. */
export async function newLake(): Promise<{ root: string; spoolDir: string; lakeDir: string }> {
  const root = await mkdtemp(join(tmpdir(), 'millrace-lake-'))
  return { root, spoolDir: join(root, 'spool'), lakeDir: join(root, 'lake') }
}

/** `read`, or the class of what was thrown. */
export function outcomeOf(read: () => unknown): string {
  try {
    read()
    return 'read'
  } catch (error) {
    return (error as Error).constructor.name
  }
}
