import type { Tensor } from '../../../kernel/model/tensor.ts'
import { TensorList } from '../../../kernel/protocol/encoded-body.ts'
import type { EncodedBody } from '../../../kernel/protocol/encoded-body.ts'

/** What stands in an answer beside its outputs. */
export interface GatheredHead {
  modelName: string
  modelVersion: string
  id: string | null
  /** Members without an answer; empty: nothing is said. */
  absent: readonly string[]
  /** Outputs go as bytes behind the JSON, as the client has asked the members for. */
  binary: boolean
}

/**
 * The body of an answer that the gateway makes itself: as a v2 server would, with `parameters.absent` where members are.
 * @throws ProtocolError 400 if an output is FP16 and must be JSON
 */
export function encodeGathered(head: GatheredHead, outputs: Readonly<Record<string, Tensor>>): EncodedBody {
  const { modelName, modelVersion, id, absent, binary } = head
  const tensors = new TensorList()
  for (const name in outputs) {
    if (binary) tensors.addBinary(name, outputs[name]!)
    else tensors.addJson(name, outputs[name]!)
  }
  const named = `{"model_name":${JSON.stringify(modelName)},"model_version":${JSON.stringify(modelVersion)}`
  const asked = id === null ? '' : `,"id":${JSON.stringify(id)}`
  const parameters = absent.length === 0 ? '' : `,"parameters":{"absent":${JSON.stringify(absent)}}`
  return tensors.body(`${named}${asked}${parameters},"outputs":[${tensors.json}]}`)
}
