/** Open Inference Protocol v2 data types. */
export type Datatype =
  | 'BOOL'
  | 'UINT8'
  | 'UINT16'
  | 'UINT32'
  | 'UINT64'
  | 'INT8'
  | 'INT16'
  | 'INT32'
  | 'INT64'
  | 'FP16'
  | 'FP32'
  | 'FP64'
  | 'BYTES'

export interface TensorSpec {
  name: string
  datatype: Datatype
  /** Axis sizes, batch first; −1 = dynamic. */
  shape: number[]
  /**
   * Names of the columns that this tensor carries along its last axis, in order: `['age', 'income']` for `[-1, 2]`,
   * one name for `[-1]` and `[-1, 1]`. Null where the tensor is not a table (images, embeddings).
   */
  columns: string[] | null
}

/** What goes into a model and what comes out: the contract between trainer, server, log and training data. */
export interface Signature {
  inputs: TensorSpec[]
  outputs: TensorSpec[]
  /** Where Millrace adds some of the inputs from tables: what callers send instead. Absent: they send the inputs. */
  enriched?: EnrichedInputs
  /** Where a preparing step stands before the model: then `inputs` are what callers send to it. Absent: there is none. */
  prepared?: PreparedInputs
}

export interface PreparedInputs {
  /** What the model itself is fed: what the step makes of the inputs. */
  fed: TensorSpec[]
}

export interface EnrichedInputs {
  /** What callers send: what no table gives, and the keys to find the rest by. */
  asked: TensorSpec[]
  /** Keys that are no columns of the model, one value a row; also those that a request gives once, as a parameter. */
  keys: TensorSpec[]
}

/** The signature as callers have it. */
export function callerSignature(signature: Signature): Signature {
  const { enriched, outputs } = signature
  return enriched === undefined ? signature : { inputs: enriched.asked, outputs }
}

/** What the model predicts; decides the metrics and how the outputs are read. */
export type Task = 'binary' | 'regression'

/**
 * Where the score is found among the outputs: the probability of the positive class, or the predicted value.
 * `index` picks along the last axis (`1` for `[N, 2]` probabilities), null for `[N]` and `[N, 1]`.
 */
export interface ScoreOutput {
  output: string
  index: number | null
}
