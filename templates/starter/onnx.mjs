// Writes ONNX files: protobuf's wire format, and of ONNX the few messages that a small model needs.
// Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto

const FLOAT = 1
const STRING = 8
const IR_VERSION = 8
const OPSET = 17
const ML_OPSET = 3 // of the domain ai.onnx.ml, which has LabelEncoder

/**
 * A column of the table: an input of its own, one value per row.
 * @param {'number' | 'text'} kind
 */
export function column(name, kind) {
  return value(name, kind === 'number' ? FLOAT : STRING)
}

/** A result, one number per row. */
export function result(name) {
  return value(name, FLOAT)
}

/** A constant: its numbers in row-major order, `shape` such as [3, 1]. */
export function constant(name, shape, numbers) {
  const bytes = Buffer.alloc(numbers.length * 4)
  numbers.forEach((number, i) => bytes.writeFloatLE(number, i * 4))
  return join(...shape.map((size) => integer(1, size)), integer(2, FLOAT), text(8, name), message(9, bytes))
}

/** An operator, e.g. node('Add', ['a', 'b'], 'sum'). */
export function node(operator, inputs, output, { domain = '', attributes = [] } = {}) {
  return join(
    ...inputs.map((input) => text(1, input)),
    text(2, output),
    text(3, `${operator}-${output}`),
    text(4, operator),
    ...attributes.map((attribute) => message(5, attribute)),
    text(7, domain),
  )
}

export const integerAttribute = (name, number) => join(text(1, name), integer(3, number), integer(20, 2))
export const floatAttribute = (name, number) => join(text(1, name), float(2, number), integer(20, 1))
export const floatsAttribute = (name, numbers) =>
  join(text(1, name), ...numbers.map((n) => float(7, n)), integer(20, 6))
export const stringsAttribute = (name, texts) => join(text(1, name), ...texts.map((t) => text(9, t)), integer(20, 8))

/** The whole file. */
export function model({ name, inputs, constants, nodes, outputs }) {
  const graph = join(
    ...nodes.map((one) => message(1, one)),
    text(2, name),
    ...constants.map((one) => message(5, one)),
    ...inputs.map((one) => message(11, one)),
    ...outputs.map((one) => message(12, one)),
  )
  const opset = (domain, version) => message(8, join(text(1, domain), integer(2, version)))
  return join(
    integer(1, IR_VERSION),
    text(2, 'train.mjs'),
    message(7, graph),
    opset('', OPSET),
    opset('ai.onnx.ml', ML_OPSET),
  )
}

/** Shape [rows, 1]: the number of rows is open and has only a name. */
function value(name, type) {
  const shape = join(message(1, text(2, 'rows')), message(1, integer(1, 1)))
  const tensorType = join(integer(1, type), message(2, shape))
  return join(text(1, name), message(2, message(1, tensorType)))
}

// Protobuf: each field is a key (its number and kind) followed by its content.

const join = (...parts) => Buffer.concat(parts)
const key = (field, kind) => varint((field << 3) | kind)
const integer = (field, number) => join(key(field, 0), varint(number))
const message = (field, bytes) => join(key(field, 2), varint(bytes.length), bytes)
const text = (field, string) => message(field, Buffer.from(string))

function float(field, number) {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(number)
  return join(key(field, 5), bytes)
}

/** Seven bits a byte, lowest first; the eighth says that more follow. */
function varint(number) {
  const bytes = []
  for (; number > 127; number = Math.floor(number / 128)) bytes.push((number % 128) | 128)
  return Buffer.from([...bytes, number])
}
