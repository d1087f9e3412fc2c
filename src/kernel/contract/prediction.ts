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
  /** Bodies of the Open Inference Protocol v2, unpacked: JSON, or JSON and the bytes of binary tensors behind it. */
  request: Uint8Array
  response: Uint8Array
  /** Length of the JSON where binary tensors follow it; 0: a raw request. Absent or null: it is all JSON. */
  requestJsonBytes?: number | null
  responseJsonBytes?: number | null
  /** Members of a gather that did not answer in time, `model@version`. Absent: no gather, or all did. */
  absent?: string[]
  /**
   * What the model was fed, where that is more than the request says, or what a step made of it: a body of the same form
   * with all of its inputs.
   * Absent: the request is what it was fed.
   */
  fed?: Uint8Array
  /** As requestJsonBytes. */
  fedJsonBytes?: number | null
}

/** The truth about one prediction, sent later by a client. May come twice and out of order: the latest `atMs` counts. */
export interface LabelRecord {
  kind: 'label'
  predictionId: string
  /** Row within the request's batch, 0 … LABEL_ROW_MAX. */
  row: number
  label: number | string | boolean
  atMs: number
}

/** The lake counts rows in an INTEGER. */
export const LABEL_ROW_MAX = 2 ** 31 - 1

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
