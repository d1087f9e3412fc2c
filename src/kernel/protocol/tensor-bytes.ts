import { isUtf8 } from 'node:buffer'
import type { Datatype } from '../model/signature.ts'
import { elementCount } from '../model/tensor.ts'
import type { Tensor, TensorData } from '../model/tensor.ts'
import type { Refusal } from './json.ts'

/**
 * Tensors as bytes: little-endian, row-major, without gaps. BOOL is one byte, FP16 its 16 bits, a BYTES element its
 * length as uint32 and then its bytes, which are UTF-8 here. Typed arrays have the byte order of the machine: Millrace
 * runs on little-endian ones only, as the runtime does.
 *
 * @see Triton's binary tensor data extension, extension_binary_data.md
 */

/** Bytes of one value; 0 for BYTES, whose elements each have their own length. */
export const DATATYPE_BYTES: Record<Datatype, number> = {
  BOOL: 1,
  UINT8: 1,
  UINT16: 2,
  UINT32: 4,
  UINT64: 8,
  INT8: 1,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP16: 2,
  FP32: 4,
  FP64: 8,
  BYTES: 0,
}

export const isDatatype = (value: unknown): value is Datatype =>
  typeof value === 'string' && Object.hasOwn(DATATYPE_BYTES, value)

/** Before each element of BYTES. */
const LENGTH_BYTES = 4

/**
 * @param shape - checked: axis sizes of at least 0, with a product that is a safe integer
 * @param bytes - exactly the tensor's. Where they lie aligned, the tensor is a view of them and lives as long; else
 *   they are copied, once
 * @throws what `refuse` makes, where the bytes are too few or too many, or hold what the type can't
 */
export function readTensorBytes(datatype: Datatype, shape: number[], bytes: Uint8Array, refuse: Refusal): Tensor {
  const count = elementCount(shape)
  if (datatype === 'BYTES') return { datatype, shape, data: readTexts(bytes, count, refuse) }
  const size = count * DATATYPE_BYTES[datatype]
  if (bytes.length !== size)
    throw refuse(`shape [${shape.join(', ')}] of ${datatype} takes ${size} bytes, not ${bytes.length}`)
  if (datatype === 'BOOL') checkTruth(bytes, refuse)
  return { datatype, shape, data: viewOf(datatype, bytes, count) }
}

type View = { readonly BYTES_PER_ELEMENT: number } & (new (
  buffer: ArrayBufferLike,
  byteOffset?: number,
  length?: number,
) => Exclude<TensorData, string[]>)

const VIEWS: Record<Exclude<Datatype, 'BYTES'>, View> = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
}

function viewOf(datatype: Exclude<Datatype, 'BYTES'>, bytes: Uint8Array, count: number): TensorData {
  const { buffer, byteOffset, byteLength } = bytes
  const TypedArray = VIEWS[datatype]
  if (byteOffset % TypedArray.BYTES_PER_ELEMENT === 0) return new TypedArray(buffer, byteOffset, count)
  return new TypedArray(buffer.slice(byteOffset, byteOffset + byteLength))
}

/** The runtime takes any byte for a truth value and computes with it. */
function checkTruth(bytes: Uint8Array, refuse: Refusal): void {
  for (let at = 0; at < bytes.length; at += 1)
    if (bytes[at]! > 1) throw refuse(`value ${at} is the byte ${bytes[at]}, which is not 0 or 1 (BOOL)`)
}

function readTexts(bytes: Uint8Array, count: number, refuse: Refusal): string[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  // First, so that a shape alone can't make room for a billion texts.
  if (count * LENGTH_BYTES > buffer.length)
    throw refuse(`${count} elements of BYTES take at least ${count * LENGTH_BYTES} bytes, not ${buffer.length}`)
  const texts: string[] = []
  let at = 0
  for (let element = 0; element < count; element += 1) {
    if (at + LENGTH_BYTES > buffer.length) throw refuse(`the bytes end before element ${element} of ${count}`)
    const from = at + LENGTH_BYTES
    const length = buffer.readUInt32LE(at)
    at = from + length
    if (at > buffer.length)
      throw refuse(`element ${element} has ${length} bytes by its length, but ${buffer.length - from} are left`)
    texts.push(readText(buffer, from, at, element, refuse))
  }
  if (at < buffer.length) throw refuse(`${buffer.length - at} bytes are left over behind element ${count - 1}`)
  return texts
}

/** The runtime ends a string at its first NUL, and knows only well-formed UTF-8: both are refused, never cut. */
function readText(buffer: Buffer, from: number, to: number, element: number, refuse: Refusal): string {
  const text = buffer.toString('utf8', from, to)
  // What is not UTF-8 is decoded to this character, which may also stand there by itself.
  if (text.includes('\uFFFD') && !isUtf8(buffer.subarray(from, to)))
    throw refuse(`element ${element} is not valid UTF-8 (BYTES)`)
  if (text.includes('\0')) throw refuse(`element ${element} holds a NUL, which BYTES can't (BYTES)`)
  return text
}

/** How many bytes `writeTensorBytes` will write. */
export function tensorByteSize({ datatype, data }: Tensor): number {
  if (datatype !== 'BYTES') return data.length * DATATYPE_BYTES[datatype]
  let size = 0
  for (const text of data as string[]) size += LENGTH_BYTES + Buffer.byteLength(text)
  return size
}

/** Copies the tensor's bytes to `at`, where there is room for `tensorByteSize` of them. Returns their end. */
export function writeTensorBytes(target: Buffer, at: number, { datatype, data }: Tensor): number {
  if (datatype === 'BYTES') return writeTexts(target, at, data as string[])
  const { buffer, byteOffset, byteLength } = data as Uint8Array
  target.set(new Uint8Array(buffer, byteOffset, byteLength), at)
  return at + byteLength
}

function writeTexts(target: Buffer, at: number, texts: readonly string[]): number {
  let end = at
  for (const text of texts) {
    const length = target.write(text, end + LENGTH_BYTES, 'utf8')
    target.writeUInt32LE(length, end)
    end += LENGTH_BYTES + length
  }
  return end
}

/** The tensor's bytes: a view of it where it is one, a copy of texts. */
export function tensorBytes(tensor: Tensor): Buffer {
  const { datatype, data } = tensor
  if (datatype !== 'BYTES') {
    const { buffer, byteOffset, byteLength } = data as Uint8Array
    return Buffer.from(buffer, byteOffset, byteLength)
  }
  const bytes = Buffer.allocUnsafe(tensorByteSize(tensor))
  writeTexts(bytes, 0, data as string[])
  return bytes
}
