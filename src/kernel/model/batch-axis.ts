import type { Signature } from './signature.ts'

/**
 * How many rows one run must have: the first axis where the file fixes it (many exporters write 1), null where any
 * number goes. A model without a batch axis at all (a scalar input) counts as one row.
 */
export function fixedRows(signature: Signature): number | null {
  for (const { shape } of signature.inputs) {
    if (shape.length === 0) return 1
    if (shape[0] !== -1) return shape[0]!
  }
  return null
}

/** True when the shapes allow requests to be stacked along axis 0 and the answers to be cut apart again. */
export function hasBatchAxis(signature: Signature): boolean {
  return [...signature.inputs, ...signature.outputs].every(({ shape }) => shape[0] === -1)
}
