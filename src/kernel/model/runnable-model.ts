import type { Signature } from './signature.ts'
import type { Tensor } from './tensor.ts'

/** A model that can be asked, wherever it computes. */
export interface RunnableModel {
  readonly signature: Signature
  /**
   * One run.
   * @param inputs - one tensor per input of the signature, of exactly its type
   * @param outputs - names to compute; all tensor outputs unless given
   * @throws a MillraceError when shapes or values are refused
   */
  run(inputs: Record<string, Tensor>, outputs?: readonly string[]): Promise<Record<string, Tensor>>
  close(): Promise<void>
}
