import { hasBatchAxis } from '../model/batch-axis.ts'
import type { Datatype, Signature, TensorSpec } from '../model/signature.ts'
import { ONNX_PLATFORM } from './metadata.ts'

/**
 * Triton's ModelConfig, as far as it says something here; the names are those of its JSON and of its protobuf alike.
 * tritonclient and perf_analyzer read shapes and the batch size from it.
 * @see Triton, extension_model_configuration.md, model_config.proto
 */
export interface ModelConfig {
  name: string
  platform: string
  backend: string
  version_policy: { specific: { versions: number[] } } | { all: Record<string, never> }
  /** Rows that are computed together at most, 0 where requests are never stacked: then `dims` begin with axis 0. */
  max_batch_size: number
  input: ModelInput[]
  output: ModelOutput[]
  /** Present where requests are computed together. */
  dynamic_batching?: Record<string, never>
  model_transaction_policy: { decoupled: false }
  default_model_filename: string
}

interface ModelOutput {
  name: string
  data_type: string
  /** Without the batch axis where there is one; -1 is dynamic. */
  dims: number[]
  /** Where a row is one value: Triton's dims can't be empty. */
  reshape?: { shape: number[] }
  is_shape_tensor: false
}

interface ModelInput extends ModelOutput {
  format: 'FORMAT_NONE'
  allow_ragged_batch: false
  optional: false
}

export interface ConfiguredModel {
  name: string
  versions: readonly string[]
  platform: string
  signature: Signature
  /** 0: requests are never stacked. */
  maxBatchRows: number
}

export function modelConfig({ name, versions, platform, signature, maxBatchRows }: ConfiguredModel): ModelConfig {
  const isBatched = maxBatchRows > 0 && hasBatchAxis(signature)
  return {
    name,
    platform,
    backend: platform === ONNX_PLATFORM ? 'onnxruntime' : '',
    version_policy: versionPolicy(versions),
    max_batch_size: isBatched ? maxBatchRows : 0,
    input: signature.inputs.map((spec) => inputConfig(spec, isBatched)),
    output: signature.outputs.map((spec) => outputConfig(spec, isBatched)),
    ...(isBatched ? { dynamic_batching: {} } : {}),
    model_transaction_policy: { decoupled: false },
    default_model_filename: platform === ONNX_PLATFORM ? 'model.onnx' : '',
  }
}

/** Versions are numbers there. */
function versionPolicy(versions: readonly string[]): ModelConfig['version_policy'] {
  const numbers = versions.map(Number)
  return numbers.length > 0 && numbers.every(Number.isSafeInteger) ? { specific: { versions: numbers } } : { all: {} }
}

function inputConfig(spec: TensorSpec, isBatched: boolean): ModelInput {
  return { ...outputConfig(spec, isBatched), format: 'FORMAT_NONE', allow_ragged_batch: false, optional: false }
}

function outputConfig({ name, datatype, shape }: TensorSpec, isBatched: boolean): ModelOutput {
  const dims = isBatched ? shape.slice(1) : shape
  const facts = { name, data_type: configType(datatype), is_shape_tensor: false } as const
  return dims.length === 0 ? { ...facts, dims: [1], reshape: { shape: [] } } : { ...facts, dims }
}

/** `TYPE_STRING` is their name for BYTES. */
export function configType(datatype: Datatype): string {
  return datatype === 'BYTES' ? 'TYPE_STRING' : `TYPE_${datatype}`
}
