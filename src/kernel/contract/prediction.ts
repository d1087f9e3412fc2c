import type { Signature } from '../model/signature.ts'

/** Where a prediction came from; training reads only `live` unless told otherwise. */
export type Origin = 'live' | 'shadow' | 'preflight' | 'fallback' | 'ui'

/** One answered (or failed) inference, as the gateway hands it to the prediction log. */
export interface PredictionRecord {
  kind: 'prediction'
  predictionId: string
  endpoint: string
  model: string
  version: string
  origin: Origin
  caller: string
  /** Calendar time (ms since 1970), which a rehearsal may move. */
  atMs: number
  /** Time from the last byte of the request to the answer, in ms. */
  latencyMs: number
  status: number
  /** The trial that the request took part in. */
  trial: string | null
  /** Of a copy: the prediction id of the live answer, by which labels and the two answers are paired. */
  shadowOf: string | null
  /** The Open Inference Protocol v2 JSON bodies as they went over the wire. */
  request: Uint8Array
  response: Uint8Array
}

/** The truth about one prediction, sent later by a client. May come twice and out of order: the latest `atMs` counts. */
export interface LabelRecord {
  kind: 'label'
  predictionId: string
  /** Row within the request's batch, from 0. */
  row: number
  label: number | string | boolean
  atMs: number
}

/** Written into a segment before the first prediction of a version, so that a segment explains itself. */
export interface SchemaRecord {
  kind: 'schema'
  model: string
  version: string
  signature: Signature
}

export type SpoolRecord = PredictionRecord | LabelRecord | SchemaRecord

/** `relaxed`: answered before the log is on disk, bounded loss. `durable`: answered after. `off`: not logged. */
export type LogMode = 'relaxed' | 'durable' | 'off'
