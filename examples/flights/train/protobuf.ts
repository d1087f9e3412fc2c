/** Protocol Buffers wire encoding, as much as ONNX needs. @see protobuf.dev/programming-guides/encoding */

const VARINT = 0
const LENGTH_DELIMITED = 2
const FIXED32 = 5

const utf8 = new TextEncoder()

/** A field with an integer, negative ones as 64-bit two's complement. */
export function intField(field: number, value: number | bigint): Uint8Array {
  return concat([tag(field, VARINT), varint(value)])
}

export function floatField(field: number, value: number): Uint8Array {
  return concat([tag(field, FIXED32), floatBytes([value])])
}

export function textField(field: number, text: string): Uint8Array {
  return bytesField(field, utf8.encode(text))
}

/** A nested message, or bytes. */
export function bytesField(field: number, bytes: Uint8Array): Uint8Array {
  return concat([tag(field, LENGTH_DELIMITED), varint(bytes.length), bytes])
}

export function packedInts(field: number, values: Iterable<number>): Uint8Array {
  return bytesField(field, concat(Array.from(values, varint)))
}

export function packedFloats(field: number, values: Iterable<number>): Uint8Array {
  return bytesField(field, floatBytes(values))
}

export function concat(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

const tag = (field: number, wireType: number) => varint((field << 3) | wireType)

/** Seven bits a byte, lowest first; the top bit says that more follow. */
export function varint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value))
  const bytes: number[] = []
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128)
    rest >>= 7n
  }
  return Uint8Array.from([...bytes, Number(rest)])
}

/** Little-endian, whatever the machine is. */
function floatBytes(values: Iterable<number>): Uint8Array {
  const floats = Array.from(values)
  const view = new DataView(new ArrayBuffer(4 * floats.length))
  floats.forEach((value, index) => view.setFloat32(4 * index, value, true))
  return new Uint8Array(view.buffer)
}
