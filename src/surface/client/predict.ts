import type { TensorSpec } from '../../kernel/model/signature.ts'
import { PredictionInputError } from './errors.ts'
import { callGateway, type GatewayAddress } from './gateway-http.ts'

export interface InferInput {
  name: string
  datatype: string
  shape: number[]
  data: unknown[]
}

export interface InferBody {
  id?: string
  inputs: InferInput[]
}

export interface Prediction {
  /** Give it back with the label, see feedback.ts. Null where the endpoint does not log. */
  predictionId: string | null
  modelName: string
  modelVersion: string
  outputs: { name: string; datatype: string; shape: number[]; data: unknown[] }[]
}

/** Inputs as model metadata gives them; `columns` only where the signature is known from the control API. */
export type InputSpec = Pick<TensorSpec, 'name' | 'datatype' | 'shape'> & { columns?: string[] | null }

export interface ModelMetadata {
  name: string
  versions: string[]
  platform: string
  inputs: InputSpec[]
  outputs: InputSpec[]
}

/** A row by column name, e.g. `{ age: 3, city: 'Ulm' }`. */
export type Row = Record<string, unknown>

/**
 * One inference. @param body - an Open Inference Protocol v2 request
 * @throws GatewayError, CallTimedOutError
 */
export async function predict(
  gateway: GatewayAddress,
  endpoint: string,
  body: unknown,
  version?: string,
): Promise<Prediction> {
  const { headers, body: answer } = await callGateway(gateway, `${modelPath(endpoint, version)}/infer`, body)
  const said = answer as { model_name: string; model_version: string; outputs: Prediction['outputs'] }
  return {
    predictionId: headers.get('millrace-prediction-id'),
    modelName: said.model_name,
    modelVersion: said.model_version,
    outputs: said.outputs,
  }
}

export async function modelMetadata(
  gateway: GatewayAddress,
  endpoint: string,
  version?: string,
): Promise<ModelMetadata> {
  return (await callGateway(gateway, modelPath(endpoint, version))).body as ModelMetadata
}

const modelPath = (endpoint: string, version?: string) =>
  `/v2/models/${encodeURIComponent(endpoint)}${version === undefined ? '' : `/versions/${encodeURIComponent(version)}`}`

/**
 * Rows as a v2 request. A one-column input takes the column of its name; an input of several columns needs `columns`.
 * @throws PredictionInputError naming what is missing, unknown, or cannot be built from columns
 */
export function requestFromRows(inputs: InputSpec[], rows: Row[]): InferBody {
  const specs = inputs.map((input) => ({ ...input, columns: columnsOf(input) }))
  const known = new Set(specs.flatMap((s) => s.columns))
  rows.forEach((row, r) => {
    const missing = [...known].filter((c) => row[c] === undefined)
    const unknown = Object.keys(row).filter((c) => !known.has(c))
    if (missing.length + unknown.length === 0) return
    const lacks = missing.length === 0 ? '' : ` lacks ${missing.join(', ')}`
    const extra = unknown.length === 0 ? '' : `${lacks === '' ? '' : ' and'} has unknown ${unknown.join(', ')}`
    throw new PredictionInputError(`Row ${r}${lacks}${extra}.`, `The model's columns are ${[...known].join(', ')}.`)
  })
  return { inputs: specs.map((spec) => tensorOf(spec, rows)) }
}

function columnsOf(input: InputSpec): string[] {
  if (Array.isArray(input.columns)) return input.columns
  const last = input.shape.length === 1 ? 1 : input.shape.length === 2 ? input.shape[1]! : null
  if (last === 1) return [input.name]
  throw new PredictionInputError(
    `Input '${input.name}' has shape [${input.shape.join(', ')}] and no column names, so it cannot be built from rows.`,
    `Send a whole v2 request with --data, or declare 'features' in the configuration.`,
  )
}

function tensorOf(spec: InputSpec & { columns: string[] }, rows: Row[]): InferInput {
  const shape = spec.shape.length === 1 ? [rows.length] : [rows.length, spec.columns.length]
  return {
    name: spec.name,
    datatype: spec.datatype,
    shape,
    data: rows.flatMap((row) => spec.columns.map((c) => row[c])),
  }
}
