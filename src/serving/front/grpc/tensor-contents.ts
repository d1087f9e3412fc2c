import { DATATYPE_BYTES, isDatatype, ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { Datatype } from '../../../kernel/model/signature.ts'
import { INTEGER_BOUNDS } from '../../../kernel/model/tensor.ts'
import { broken, endOfVarint, highBits, lowBits, WIRE, WireReader } from './wire.ts'

/** The typed lists of InferTensorContents, by their field numbers. */
const LISTS = [
  '',
  'bool_contents',
  'int_contents',
  'int64_contents',
  'uint_contents',
  'uint64_contents',
  'fp32_contents',
  'fp64_contents',
  'bytes_contents',
] as const

/** Which of them carries a type. FP16 and BF16 have none: they come as raw bytes only. */
const FIELDS: Partial<Record<Datatype, number>> = {
  BOOL: 1,
  INT8: 2,
  INT16: 2,
  INT32: 2,
  INT64: 3,
  UINT8: 4,
  UINT16: 4,
  UINT32: 4,
  UINT64: 5,
  FP32: 6,
  FP64: 7,
  BYTES: 8,
}

/**
 * Typed contents as the bytes of a binary tensor: little-endian, row-major. They are read from the message itself, value
 * by value: as lists they would take ten times the memory.
 * @param contents - an InferTensorContents as it came; empty or null: no values
 * @param limitBytes - of what is made: a byte of the message may stand for eight
 * @throws ProtocolError 400 naming the input, where the values are in another list than its type's, or out of its range;
 *   413 beyond the limit
 * @see open-inference-protocol, inference_grpc.md, "InferTensorContents"
 */
export function contentBytes(
  input: string,
  datatype: string,
  contents: Buffer | null,
  limitBytes = Number.MAX_SAFE_INTEGER,
): Uint8Array {
  const field = isDatatype(datatype) ? FIELDS[datatype] : undefined
  if (field === undefined) {
    throw new ProtocolError(400, `Input '${input}': ${datatype || 'no datatype'} can't be sent as typed contents`)
  }
  if (contents === null || contents.length === 0) return new Uint8Array()
  refuseOthers(input, datatype, contents, field)
  const type = datatype as Datatype
  const bytes = sizeOf(contents, field, type)
  if (bytes > limitBytes)
    throw new ProtocolError(413, `Input '${input}' has ${bytes} bytes, more than the limit of ${limitBytes}`)
  return filled(input, type, contents, field, bytes)
}

function refuseOthers(input: string, datatype: string, contents: Buffer, field: number): void {
  const fields = new WireReader(contents)
  while (fields.next()) {
    const isEmpty = fields.wire === WIRE.sized && fields.from === fields.at && fields.field !== FIELDS.BYTES
    const other = isEmpty || fields.field === field ? undefined : LISTS[fields.field]
    if (other !== undefined)
      throw new ProtocolError(400, `Input '${input}': ${datatype} belongs into '${LISTS[field]}', not into '${other}'`)
  }
}

/** Before each element of BYTES. */
const LENGTH_BYTES = 4

function sizeOf(contents: Buffer, field: number, datatype: Datatype): number {
  const size = DATATYPE_BYTES[datatype]
  const fields = new WireReader(contents)
  let bytes = 0
  while (fields.next()) {
    if (fields.field !== field) continue
    const { from, at, wire } = fields
    if (datatype === 'BYTES') bytes += LENGTH_BYTES + at - from
    else if (isFloat(datatype)) bytes += at - from
    else bytes += wire === WIRE.sized ? size * varints(contents, from, at) : size
  }
  return bytes
}

const isFloat = (datatype: Datatype): boolean => datatype === 'FP32' || datatype === 'FP64'

/** As many as there are last bytes of one. */
function varints(bytes: Buffer, from: number, to: number): number {
  let count = 0
  for (let at = from; at < to; at += 1) if (bytes[at]! < 0x80) count += 1
  return count
}

function filled(input: string, datatype: Datatype, contents: Buffer, field: number, bytes: number): Uint8Array {
  const made = Buffer.from(new ArrayBuffer(bytes)) // its own, so that it may be seen as integers of any size
  const fields = new WireReader(contents)
  let at = 0
  while (fields.next()) {
    if (fields.field !== field) continue
    const value = contents.subarray(fields.from, fields.at)
    if (datatype === 'BYTES') at = copy(value, made, made.writeUInt32LE(value.length, at), fields.wire, WIRE.sized)
    else if (isFloat(datatype)) at = copyFloats(value, made, at, fields.wire, DATATYPE_BYTES[datatype])
    else if (fields.wire === WIRE.sized || fields.wire === WIRE.varint) at = integers(input, datatype, value, made, at)
    else throw broken()
  }
  return made
}

function copyFloats(value: Buffer, made: Buffer, at: number, wire: number, size: number): number {
  if (value.length % size !== 0) throw broken()
  return copy(value, made, at, wire, wire === WIRE.sized ? WIRE.sized : size === 4 ? WIRE.four : WIRE.eight)
}

function copy(value: Buffer, made: Buffer, at: number, wire: number, wanted: number): number {
  if (wire !== wanted) throw broken()
  return at + value.copy(made, at)
}

/** @returns where they end */
function integers(input: string, datatype: Datatype, packed: Buffer, made: Buffer, start: number): number {
  const size = DATATYPE_BYTES[datatype]
  const put = PUT[datatype]!
  const [min, max] = (INTEGER_BOUNDS[datatype] ?? [0n, 1n]).map(Number) as [number, number]
  const isWhole = size >= 4 // of these every value that the list can hold fits
  let at = start
  for (let from = 0; from < packed.length; at += size) {
    const to = endOfVarint(packed, from, packed.length)
    const low = datatype === 'BOOL' ? truth(packed, from, to) : lowBits(packed, from, to)
    const value = datatype === 'UINT8' || datatype === 'UINT16' ? low >>> 0 : low
    if (!isWhole && (value < min || value > max)) {
      throw new ProtocolError(400, `Input '${input}': value ${at / size} is ${value}, which ${datatype} can't hold`)
    }
    put(made, at, value)
    if (size === 8) made.writeInt32LE(highBits(packed, from, to), at + 4)
    from = to
  }
  return at
}

const truth = (bytes: Buffer, from: number, to: number): number =>
  lowBits(bytes, from, to) === 0 && highBits(bytes, from, to) === 0 ? 0 : 1

type Put = (made: Buffer, at: number, value: number) => void
const one: Put = (made, at, value) => void (made[at] = value)
const two: Put = (made, at, value) => void made.writeInt16LE((value << 16) >> 16, at)
const four: Put = (made, at, value) => void made.writeInt32LE(value, at)

/** Of 64 bits the lower half. */
const PUT: Partial<Record<Datatype, Put>> = {
  BOOL: one,
  INT8: one,
  UINT8: one,
  INT16: two,
  UINT16: two,
  INT32: four,
  UINT32: four,
  INT64: four,
  UINT64: four,
}
