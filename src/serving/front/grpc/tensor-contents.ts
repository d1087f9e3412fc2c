import { DATATYPE_BYTES, isDatatype, ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { Datatype } from '../../../kernel/model/signature.ts'
import { allocate, INTEGER_BOUNDS } from '../../../kernel/model/tensor.ts'
import type { TensorContents } from './messages.ts'

/** Which of the typed lists carries a type. FP16 and BF16 have none: they come as raw bytes only. */
const LISTS: Partial<Record<Datatype, keyof TensorContents>> = {
  BOOL: 'bool_contents',
  INT8: 'int_contents',
  INT16: 'int_contents',
  INT32: 'int_contents',
  INT64: 'int64_contents',
  UINT8: 'uint_contents',
  UINT16: 'uint_contents',
  UINT32: 'uint_contents',
  UINT64: 'uint64_contents',
  FP32: 'fp32_contents',
  FP64: 'fp64_contents',
  BYTES: 'bytes_contents',
}

/**
 * Typed contents as the bytes of a binary tensor: little-endian, row-major.
 * @throws ProtocolError 400 naming the input, where the values are in another list than its type's, or out of its range
 * @see open-inference-protocol, inference_grpc.md, "InferTensorContents"
 */
export function contentBytes(input: string, datatype: string, contents: TensorContents | null): Uint8Array {
  const list = isDatatype(datatype) ? LISTS[datatype] : undefined
  if (list === undefined) {
    throw new ProtocolError(400, `Input '${input}': ${datatype || 'no datatype'} can't be sent as typed contents`)
  }
  if (contents === null) return new Uint8Array()
  const other = Object.keys(contents).find((name) => name !== list && contents[name as keyof TensorContents].length > 0)
  if (other !== undefined) {
    throw new ProtocolError(400, `Input '${input}': ${datatype} belongs into '${list}', not into '${other}'`)
  }
  return datatype === 'BYTES'
    ? textBytes(contents.bytes_contents)
    : valueBytes(input, datatype as Datatype, contents[list])
}

function textBytes(texts: readonly Buffer[]): Buffer {
  const size = texts.reduce((sum, text) => sum + 4 + text.length, 0)
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const text of texts) {
    at = bytes.writeUInt32LE(text.length, at)
    at += text.copy(bytes, at)
  }
  return bytes
}

function valueBytes(input: string, datatype: Datatype, values: TensorContents[keyof TensorContents]): Uint8Array {
  const data = allocate(datatype, values.length) as Float64Array
  const bounds = INTEGER_BOUNDS[datatype]
  const isBig = DATATYPE_BYTES[datatype] === 8 && datatype !== 'FP64'
  for (let i = 0; i < values.length; i += 1) {
    const value = isBig ? BigInt(values[i] as string) : Number(values[i])
    if (bounds !== undefined && (value < bounds[0] || value > bounds[1])) {
      throw new ProtocolError(400, `Input '${input}': value ${i} is ${value}, which ${datatype} can't hold`)
    }
    data[i] = value as number
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}
