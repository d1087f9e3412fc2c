import type { Datatype } from './signature.ts'

/** Values in row-major order. FP16 are the 16 bits of each value, BOOL one byte each, BYTES are strings. */
export type TensorData =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array
  | string[]

export interface Tensor {
  datatype: Datatype
  /** Axis sizes, batch first, all ≥ 0. */
  shape: number[]
  /** As many values as the product of `shape`. */
  data: TensorData
}

/** More axes than this are refused: no model needs them, and a request could nest as deep. */
export const MAX_RANK = 16

const ALLOCATE: Record<Datatype, (length: number) => TensorData> = {
  BOOL: (length) => new Uint8Array(length),
  UINT8: (length) => new Uint8Array(length),
  UINT16: (length) => new Uint16Array(length),
  UINT32: (length) => new Uint32Array(length),
  UINT64: (length) => new BigUint64Array(length),
  INT8: (length) => new Int8Array(length),
  INT16: (length) => new Int16Array(length),
  INT32: (length) => new Int32Array(length),
  INT64: (length) => new BigInt64Array(length),
  FP16: (length) => new Uint16Array(length),
  FP32: (length) => new Float32Array(length),
  FP64: (length) => new Float64Array(length),
  BYTES: (length) => Array.from({ length }, () => ''),
}

/** Room for `length` values of this type, all zero (or empty). */
export function allocate(datatype: Datatype, length: number): TensorData {
  return ALLOCATE[datatype](length)
}

/** Product of the axis sizes; 1 for a scalar. The caller has checked that none is negative. */
export function elementCount(shape: readonly number[]): number {
  let count = 1
  for (const size of shape) count *= size
  return count
}

/** Inclusive bounds of the integer types. */
export const INTEGER_BOUNDS: Partial<Record<Datatype, readonly [min: bigint, max: bigint]>> = {
  UINT8: [0n, 255n],
  UINT16: [0n, 65_535n],
  UINT32: [0n, 4_294_967_295n],
  UINT64: [0n, 2n ** 64n - 1n],
  INT8: [-128n, 127n],
  INT16: [-32_768n, 32_767n],
  INT32: [-2_147_483_648n, 2_147_483_647n],
  INT64: [-(2n ** 63n), 2n ** 63n - 1n],
}

/** Doubles of this size or more round to infinity in 32 bits. */
export const FLOAT32_LIMIT = (2 - 2 ** -24) * 2 ** 127

/**
 * Puts tensors of one type and equal inner shape under each other along axis 0.
 * @param parts - at least one; equal in all axes but the first
 */
export function stackRows(parts: readonly Tensor[]): Tensor {
  const first = parts[0]!
  if (parts.length === 1) return first
  let rows = 0
  let length = 0
  for (const part of parts) {
    rows += part.shape[0]!
    length += part.data.length
  }
  const shape = [rows, ...first.shape.slice(1)]
  if (Array.isArray(first.data))
    return { datatype: first.datatype, shape, data: parts.flatMap((part) => part.data as string[]) }
  const data = allocate(first.datatype, length) as Float32Array
  let at = 0
  for (const part of parts) {
    data.set(part.data as Float32Array, at)
    at += part.data.length
  }
  return { datatype: first.datatype, shape, data }
}

/** Rows `from` (inclusive) to `to` (exclusive) along axis 0; shares memory with `tensor` where it can. */
export function sliceRows(tensor: Tensor, from: number, to: number): Tensor {
  const rows = tensor.shape[0]!
  const width = rows === 0 ? 0 : tensor.data.length / rows
  const shape = [to - from, ...tensor.shape.slice(1)]
  const data = Array.isArray(tensor.data)
    ? tensor.data.slice(from * width, to * width)
    : tensor.data.subarray(from * width, to * width)
  return { datatype: tensor.datatype, shape, data }
}
