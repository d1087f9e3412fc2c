import type { Signature, TensorSpec } from '../model/signature.ts'

/** Bodies of the protocol's other answers. Extensions are advertised once they are there. */
export function serverMetadata(server: { name: string; version: string; extensions: readonly string[] }): string {
  return JSON.stringify({ name: server.name, version: server.version, extensions: server.extensions })
}

export function modelMetadata(model: { name: string; versions: readonly string[]; signature: Signature }): string {
  const { name, versions, signature } = model
  return JSON.stringify({
    name,
    versions,
    platform: 'onnxruntime_onnx',
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
