import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { varint } from '../kernel/model/proto-writer.ts'

/**
 * Writes small ONNX files for tests: a few messages of protobuf's wire format and, below, ready-made models.
 * `writeModel('/tmp/x/model.onnx', logisticModel({ weights: [1, -2] }))`
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 */
export function writeModel(path: string, model: Uint8Array): string {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, model)
  return path
}

/** TensorProto.DataType */
export const ELEMENT = {
  float: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  double: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  bfloat16: 16,
} as const
export type Element = keyof typeof ELEMENT

/** A number is fixed, a name is dynamic, '' is dynamic without a name; null instead of the list: unknown rank. */
export type Dims = readonly (number | string)[] | null

export interface GraphParts {
  nodes: Uint8Array[]
  inputs: Uint8Array[]
  outputs: Uint8Array[]
  initializers?: Uint8Array[]
  metadata?: Record<string, string>
  /** Version of the standard operators. */
  opset?: number
  irVersion?: number
  /** Other domains the graph uses, with their versions. */
  domains?: Record<string, number>
}

/** The whole file. */
export function onnxModel(parts: GraphParts): Uint8Array {
  const graph = join([
    ...parts.nodes.map((node) => bytes(1, node)),
    text(2, 'graph'),
    ...(parts.initializers ?? []).map((tensor) => bytes(5, tensor)),
    ...parts.inputs.map((value) => bytes(11, value)),
    ...parts.outputs.map((value) => bytes(12, value)),
  ])
  const domains = { '': parts.opset ?? 17, 'ai.onnx.ml': 3, ...parts.domains }
  return join([
    int(1, parts.irVersion ?? 8),
    text(2, 'millrace-test'),
    bytes(7, graph),
    ...Object.entries(domains).map(([domain, version]) => bytes(8, join([text(1, domain), int(2, version)]))),
    ...Object.entries(parts.metadata ?? {}).map(([key, value]) => bytes(14, pair(key, value))),
  ])
}

export type Attribute =
  | { float: number }
  | { int: number }
  | { text: string }
  | { floats: readonly number[] }
  | { ints: readonly number[] }
  | { texts: readonly string[] }
  | { tensor: Uint8Array }
  | { graph: Uint8Array }

/** NodeProto */
export function node(
  type: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Record<string, Attribute> = {},
  domain = '',
): Uint8Array {
  return join([
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(3, `${type}:${outputs[0] ?? ''}`),
    text(4, type),
    ...Object.entries(attributes).map(([name, value]) => bytes(5, attribute(name, value))),
    text(7, domain),
  ])
}

function attribute(name: string, value: Attribute): Uint8Array {
  if ('float' in value) return join([text(1, name), float(2, value.float), int(20, 1)])
  if ('int' in value) return join([text(1, name), int(3, value.int), int(20, 2)])
  if ('text' in value) return join([text(1, name), text(4, value.text), int(20, 3)])
  if ('tensor' in value) return join([text(1, name), bytes(5, value.tensor), int(20, 4)])
  if ('graph' in value) return join([text(1, name), bytes(6, value.graph), int(20, 5)])
  if ('floats' in value) return join([text(1, name), ...value.floats.map((item) => float(7, item)), int(20, 6)])
  if ('ints' in value) return join([text(1, name), ...value.ints.map((item) => int(8, item)), int(20, 7)])
  return join([text(1, name), ...value.texts.map((item) => text(9, item)), int(20, 8)])
}

/** TensorProto of float32 values. */
export function floatTensor(name: string, dims: readonly number[], values: readonly number[]): Uint8Array {
  return join([
    ...dims.map((dim) => int(1, dim)),
    int(2, ELEMENT.float),
    text(8, name),
    bytes(9, bytesOf(Float32Array.from(values))),
  ])
}

/** TensorProto of int64 values. */
export function int64Tensor(name: string, dims: readonly number[], values: readonly number[]): Uint8Array {
  return join([
    ...dims.map((dim) => int(1, dim)),
    int(2, ELEMENT.int64),
    text(8, name),
    bytes(9, bytesOf(BigInt64Array.from(values, BigInt))),
  ])
}

/** TensorProto whose float32 values lie in another file, from byte 0 on. */
export function externalTensor(name: string, dims: readonly number[], location: string): Uint8Array {
  const length = dims.reduce((a, b) => a * b, 4)
  const data = [pair('location', location), pair('offset', '0'), pair('length', String(length))]
  return join([
    ...dims.map((dim) => int(1, dim)),
    int(2, ELEMENT.float),
    text(8, name),
    ...data.map((entry) => bytes(13, entry)),
    int(14, 1),
  ])
}

/** ValueInfoProto of a tensor. */
export function tensorValue(name: string, element: Element, dims: Dims): Uint8Array {
  return join([text(1, name), bytes(2, bytes(1, tensorType(element, dims)))])
}

/** ValueInfoProto of a sequence of tensors. */
export function sequenceValue(name: string, element: Element, dims: Dims): Uint8Array {
  return join([text(1, name), bytes(2, bytes(4, bytes(1, bytes(1, tensorType(element, dims)))))])
}

/** ValueInfoProto of what ZipMap gives: a sequence of maps from int64 to float. */
export function sequenceOfMapsValue(name: string): Uint8Array {
  const map = join([int(1, ELEMENT.int64), bytes(2, bytes(1, tensorType('float', [])))])
  return join([text(1, name), bytes(2, bytes(4, bytes(1, bytes(5, map))))])
}

function tensorType(element: Element, dims: Dims): Uint8Array {
  const shape = dims?.map((dim) => bytes(1, typeof dim === 'number' ? int(1, dim) : text(2, dim)))
  return join([int(1, ELEMENT[element]), ...(shape ? [bytes(2, join(shape))] : [])])
}

// Models

/** `y = x·weights + bias`, x float `[rows, K]` → y float `[rows, 1]`. */
export function linearModel(model: {
  weights: readonly number[]
  bias?: number
  /** Size of axis 0; a name is dynamic. */
  rows?: number | string
  metadata?: Record<string, string>
}): Uint8Array {
  const { weights, bias = 0, rows = 'N', metadata } = model
  return onnxModel({
    nodes: [node('MatMul', ['x', 'w'], ['xw']), node('Add', ['xw', 'b'], ['y'])],
    initializers: [floatTensor('w', [weights.length, 1], weights), floatTensor('b', [1], [bias])],
    inputs: [tensorValue('x', 'float', [rows, weights.length])],
    outputs: [tensorValue('y', 'float', [rows, 1])],
    metadata,
  })
}

/** Binary classifier: x float `[N, K]` → label int64 `[N]`, probabilities float `[N, 2]`, as skl2onnx writes it. */
export function logisticModel(model: {
  weights: readonly number[]
  bias?: number
  metadata?: Record<string, string>
}): Uint8Array {
  const { weights, bias = 0, metadata } = model
  return onnxModel({
    nodes: [
      ...logisticNodes(),
      node('ArgMax', ['probabilities'], ['label'], { axis: { int: 1 }, keepdims: { int: 0 } }),
    ],
    initializers: [
      floatTensor('w', [weights.length, 1], weights),
      floatTensor('b', [1], [bias]),
      floatTensor('one', [1], [1]),
    ],
    inputs: [tensorValue('x', 'float', ['N', weights.length])],
    outputs: [tensorValue('label', 'int64', ['N']), tensorValue('probabilities', 'float', ['N', 2])],
    metadata,
  })
}

function logisticNodes(): Uint8Array[] {
  return [
    node('MatMul', ['x', 'w'], ['xw']),
    node('Add', ['xw', 'b'], ['logit']),
    node('Sigmoid', ['logit'], ['p1']),
    node('Sub', ['one', 'p1'], ['p0']),
    node('Concat', ['p0', 'p1'], ['probabilities'], { axis: { int: 1 } }),
  ]
}

/** The classifier above with its probabilities as a list of dictionaries: skl2onnx's default, which can't be served. */
export function zipMapModel(weights: readonly number[]): Uint8Array {
  return onnxModel({
    nodes: [
      ...logisticNodes(),
      node('ArgMax', ['probabilities'], ['output_label'], { axis: { int: 1 }, keepdims: { int: 0 } }),
      node('ZipMap', ['probabilities'], ['output_probability'], { classlabels_int64s: { ints: [0, 1] } }, 'ai.onnx.ml'),
    ],
    initializers: [
      floatTensor('w', [weights.length, 1], weights),
      floatTensor('b', [1], [0]),
      floatTensor('one', [1], [1]),
    ],
    inputs: [tensorValue('x', 'float', ['', weights.length])],
    outputs: [tensorValue('output_label', 'int64', ['']), sequenceOfMapsValue('output_probability')],
  })
}

export type ColumnInput =
  | { name: string; weight: number; element?: 'float' | 'double' | 'int64' }
  /** Text is looked up: the value of its key, else `otherwise`. */
  | { name: string; values: Record<string, number>; otherwise?: number }

/** One input `[N, 1]` per column, text by LabelEncoder; y = sum of what they contribute, float `[N, 1]`. */
export function columnModel(columns: readonly ColumnInput[], metadata?: Record<string, string>): Uint8Array {
  return onnxModel({
    nodes: [
      ...columns.flatMap(columnNodes),
      node(
        'Sum',
        columns.map(({ name }) => `${name}.part`),
        ['y'],
      ),
    ],
    initializers: columns.flatMap((column) =>
      'weight' in column ? [floatTensor(`${column.name}.w`, [1], [column.weight])] : [],
    ),
    inputs: columns.map((column) =>
      tensorValue(column.name, 'weight' in column ? (column.element ?? 'float') : 'string', ['N', 1]),
    ),
    outputs: [tensorValue('y', 'float', ['N', 1])],
    metadata,
  })
}

function columnNodes(column: ColumnInput): Uint8Array[] {
  const { name } = column
  if ('weight' in column) {
    return [
      node('Cast', [name], [`${name}.f`], { to: { int: ELEMENT.float } }),
      node('Mul', [`${name}.f`, `${name}.w`], [`${name}.part`]),
    ]
  }
  const lookUp = {
    keys_strings: { texts: Object.keys(column.values) },
    values_floats: { floats: Object.values(column.values) },
    default_float: { float: column.otherwise ?? 0 },
  }
  return [node('LabelEncoder', [name], [`${name}.part`], lookUp, 'ai.onnx.ml')]
}

/** `y = x` for any element type and shape: what goes in must come out. */
export function identityModel(
  element: Element,
  dims: Dims,
  names: { input?: string; output?: string } = {},
): Uint8Array {
  const { input = 'x', output = 'y' } = names
  return onnxModel({
    nodes: [node('Identity', [input], [output])],
    inputs: [tensorValue(input, element, dims)],
    outputs: [tensorValue(output, element, dims)],
  })
}

/** `table[x]`, x int64 `[N]` → y float `[N]`: fails at run time on an index outside of the table. */
export function lookupModel(table: readonly number[]): Uint8Array {
  return onnxModel({
    nodes: [node('Gather', ['table', 'x'], ['y'])],
    initializers: [floatTensor('table', [table.length], table)],
    inputs: [tensorValue('x', 'int64', ['N'])],
    outputs: [tensorValue('y', 'float', ['N'])],
  })
}

/** `y = x − mean of x over the rows`: a row's answer depends on its neighbours, so it must not be batched. */
export function centringModel(width: number): Uint8Array {
  return onnxModel({
    nodes: [
      node('ReduceMean', ['x'], ['mean'], { axes: { ints: [0] }, keepdims: { int: 1 } }),
      node('Sub', ['x', 'mean'], ['y']),
    ],
    inputs: [tensorValue('x', 'float', ['N', width])],
    outputs: [tensorValue('y', 'float', ['N', width])],
  })
}

/** Takes its time: `repeats` products of `[rows, size] × [size, size]`; size 1024 and 100 repeats are about 15 ms for one row. */
export function slowModel(model: { size: number; repeats: number; width?: number }): Uint8Array {
  const { size, repeats, width = 4 } = model
  const steps = Array.from({ length: repeats }, (_, step) => node('MatMul', [`h${step}`, 'w'], [`h${step + 1}`]))
  const constant = { value: { tensor: floatTensor('', [1], [1 / size]) } }
  return onnxModel({
    nodes: [
      node('ConstantOfShape', ['shape'], ['w'], constant),
      node('ReduceMean', ['x'], ['mean'], { axes: { ints: [1] }, keepdims: { int: 1 } }),
      node('Expand', ['mean', 'wide'], ['h0']),
      ...steps,
      node('ReduceMean', [`h${repeats}`], ['y'], { axes: { ints: [1] }, keepdims: { int: 1 } }),
    ],
    initializers: [int64Tensor('shape', [2], [size, size]), int64Tensor('wide', [2], [1, size])],
    inputs: [tensorValue('x', 'float', ['N', width])],
    outputs: [tensorValue('y', 'float', ['N', 1])],
  })
}

/** A linear model whose weights lie in `location`, beside the file; write them as little-endian float32. */
export function externalDataModel(width: number, location: string): Uint8Array {
  return onnxModel({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    initializers: [externalTensor('w', [width, 1], location)],
    inputs: [tensorValue('x', 'float', ['N', width])],
    outputs: [tensorValue('y', 'float', ['N', 1])],
  })
}

/** Uses an operator that no runtime has: in a foreign domain, or a made-up name in the standard one (`domain: ''`). */
export function customOperatorModel(domain = 'com.example'): Uint8Array {
  return onnxModel({
    nodes: [node('Frobnicate', ['x'], ['y'], {}, domain)],
    inputs: [tensorValue('x', 'float', ['N', 2])],
    outputs: [tensorValue('y', 'float', ['N', 2])],
    domains: domain === '' ? {} : { [domain]: 1 },
  })
}

/** Takes a sequence, which can't be sent as a tensor. */
export function sequenceInputModel(): Uint8Array {
  return onnxModel({
    nodes: [node('ConcatFromSequence', ['x'], ['y'], { axis: { int: 0 } })],
    inputs: [sequenceValue('x', 'float', ['N', 2])],
    outputs: [tensorValue('y', 'float', ['N', 2])],
  })
}

// Protobuf

const encoder = new TextEncoder()

function join(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts)
}

function int(field: number, value: number | bigint): Uint8Array {
  return join([varint(field * 8), varint(value)])
}

function float(field: number, value: number): Uint8Array {
  return join([varint(field * 8 + 5), bytesOf(Float32Array.of(value))])
}

function bytes(field: number, content: Uint8Array): Uint8Array {
  return join([varint(field * 8 + 2), varint(content.length), content])
}

function text(field: number, content: string): Uint8Array {
  return bytes(field, encoder.encode(content))
}

function pair(key: string, value: string): Uint8Array {
  return join([text(1, key), text(2, value)])
}

function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}
