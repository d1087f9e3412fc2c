import { MillraceError } from '../errors.ts'

export type ModelNotServableCode =
  | 'MR_MODEL_MISSING' // no such file
  | 'MR_MODEL_EMPTY' // 0 bytes
  | 'MR_MODEL_NOT_ONNX' // some other format
  | 'MR_MODEL_CORRUPT' // begins like ONNX, but does not hold together
  | 'MR_MODEL_UNSUPPORTED_TYPE' // an input or output type that the protocol or the runtime lacks
  | 'MR_MODEL_UNSUPPORTED_OPERATOR' // the runtime has no such operator, domain or opset
  | 'MR_MODEL_ZIPMAP' // probabilities as a list of dictionaries
  | 'MR_MODEL_SHAPE' // no inputs or outputs, unknown rank, too many axes
  | 'MR_MODEL_FEATURES' // as many feature names as columns are needed
  | 'MR_MODEL_EXTERNAL_DATA' // weights in other files, which are missing or lie elsewhere
  | 'MR_MODEL_LOAD' // the runtime refuses it for another reason

/** The file can't be served as it is: said when a version is registered, never at its first request. */
export class ModelNotServableError extends MillraceError {
  constructor(facts: { code: ModelNotServableCode; message: string; fix: string; cause?: unknown }) {
    super({ ...facts, kind: 'invalid', retryable: false })
  }
}

/** A value of a table that the model's input can't hold. */
export class ColumnValueError extends MillraceError {
  readonly column: string
  /** Row within the table, from 0; null where the whole column is the matter. */
  readonly row: number | null

  constructor(column: string, row: number | null, message: string, fix: string) {
    super({ code: 'MR_COLUMN_VALUE', kind: 'invalid', retryable: false, message, fix })
    this.column = column
    this.row = row
  }
}

/** The model ran and failed on these values, or the tensors don't fit its inputs. */
export class ModelRunError extends MillraceError {
  constructor(path: string, cause: unknown) {
    super({
      code: 'MR_MODEL_RUN',
      kind: 'invalid',
      retryable: false,
      message: `The model ${path} failed on these inputs: ${cause instanceof Error ? cause.message : String(cause)}.`,
      fix: 'Compare shapes and values with what the model was trained on.',
      cause,
    })
  }
}
