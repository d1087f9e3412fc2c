import type { Signature, TensorSpec } from '../model/signature.ts'

/** Bodies of the protocol's answers about server and models. */

/** Extensions of the protocol that Millrace speaks, by Triton's names. */
export const EXTENSIONS: readonly string[] = [
  'binary_tensor_data',
  'model_repository',
  'model_configuration',
  'statistics',
  'parameters',
]

/** What Millrace's own model server says of itself. */
export const ONNX_PLATFORM = 'onnxruntime_onnx'

export function serverMetadata(server: { name: string; version: string; extensions?: readonly string[] }): string {
  return JSON.stringify({ name: server.name, version: server.version, extensions: server.extensions ?? EXTENSIONS })
}

export function modelMetadata(model: {
  name: string
  versions: readonly string[]
  signature: Signature
  platform?: string
}): string {
  const { name, versions, signature, platform = ONNX_PLATFORM } = model
  return JSON.stringify({
    name,
    versions,
    platform,
    inputs: signature.inputs.map(tensorMetadata),
    outputs: signature.outputs.map(tensorMetadata),
  })
}

const tensorMetadata = ({ name, datatype, shape }: TensorSpec) => ({ name, datatype, shape })

export const LIVE_BODY = '{"live":true}'
export const READY_BODY = '{"ready":true}'

export function modelReady(name: string): string {
  return `{"name":${JSON.stringify(name)},"ready":true}`
}
