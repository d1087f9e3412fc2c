import type { OnnxFacts } from '../../kernel/model/onnx-model.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import type { Tensor } from '../../kernel/model/tensor.ts'

/**
 * What a model server and the process of one of its models tell each other, over Node's channel between parent and
 * child with `serialization: 'advanced'`, so that tensors go as bytes.
 *
 *   server ─▶ child   open, then run …          child ─▶ server   opened | refused, then ran | failed for each run
 *
 * One run at a time; the child ends when the channel does.
 */
export type ToChild =
  | { kind: 'open'; path: string; features: string[] | null }
  | { kind: 'run'; inputs: Record<string, Tensor>; outputs: readonly string[] | null }

export type FromChild =
  | { kind: 'opened'; signature: Signature; facts: OnnxFacts }
  | { kind: 'refused'; code: string; message: string; fix: string }
  | { kind: 'ran'; outputs: Record<string, Tensor> }
  | { kind: 'failed'; message: string }
