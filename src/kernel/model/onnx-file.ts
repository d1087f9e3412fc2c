import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { dirname, isAbsolute, join, normalize, sep } from 'node:path'
import { messageOf } from '../errors.ts'
import { ModelNotServableError } from './errors.ts'
import type { ModelNotServableCode } from './errors.ts'
import { emptyGraph, readGraphOf } from './onnx-graph.ts'
import type { RawGraph, RawValue } from './onnx-graph.ts'
import { ProtoError, ProtoFile } from './proto-reader.ts'
import type { Datatype } from './signature.ts'
import { MAX_RANK } from './tensor.ts'

/** What an ONNX file says about itself; read from its protobuf, without the runtime and without its weights. */
export interface OnnxFacts {
  irVersion: number
  producer: string
  opsets: { domain: string; version: number }[]
  /** What a caller must feed: the graph's inputs minus its initializers. */
  inputs: OnnxValue[]
  /** Outputs that are tensors. */
  outputs: OnnxValue[]
  /** Outputs that are sequences, maps, …: present in the file, never fetched. */
  skippedOutputs: { name: string; kind: string }[]
  metadata: Record<string, string>
  /** Files beside the model that hold weights, relative to its folder. */
  externalFiles: string[]
  operators: { domain: string; type: string }[]
}

export interface OnnxValue {
  name: string
  datatype: Datatype
  /** −1 = dynamic (a name or nothing in the file); null = the file doesn't even say how many axes. */
  shape: number[] | null
}

export interface OnnxReading {
  /** ZipMap is known and about to be taken out: its outputs count as skipped. */
  zipMaps?: boolean
  /** False: the weight files are not beside it at this moment, and are not looked for. */
  weights?: boolean
}

/**
 * Reads the facts and checks that the file can be served as far as that is possible without the runtime.
 * @throws ModelNotServableError: missing, empty, another format, cut off, types or operators that can't be served
 */
export function readOnnxFile(path: string, options: OnnxReading = {}): OnnxFacts {
  const fd = open(path)
  try {
    const { size } = fstatSync(fd)
    if (size === 0)
      throw refuse('MR_MODEL_EMPTY', `${path} is empty.`, 'Check that the trainer closes the file before it exits.')
    refuseOtherFormats(fd, path)
    const graph = readModel(new ProtoFile(fd, size), path)
    return checkedFacts(graph, path, options)
  } finally {
    closeSync(fd)
  }
}

const refuse = (code: ModelNotServableCode, message: string, fix: string, cause?: unknown): ModelNotServableError =>
  new ModelNotServableError({ code, message, fix, cause })

function open(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (cause) {
    throw refuse(
      'MR_MODEL_MISSING',
      `Cannot open the model ${path}: ${messageOf(cause)}.`,
      'Write the model to MILLRACE_MODEL_DIR/model.onnx, or correct the path.',
      cause,
    )
  }
}

const OTHER_FORMATS: { magic: number[]; format: string }[] = [
  { magic: [0x80], format: 'a Python pickle' },
  { magic: [0x50, 0x4b], format: 'a zip archive (PyTorch, Keras)' },
  { magic: [0x89, 0x48, 0x44, 0x46], format: 'HDF5 (Keras)' },
  { magic: [0x1f, 0x8b], format: 'gzip' },
  { magic: [0x7b], format: 'JSON' },
  { magic: [0x23, 0x21], format: 'a script' },
]

function refuseOtherFormats(fd: number, path: string): void {
  const head = Buffer.alloc(4)
  readSync(fd, head, 0, 4, 0)
  const other = OTHER_FORMATS.find(({ magic }) => magic.every((byte, index) => head[index] === byte))
  if (other) throw notOnnx(path, `it looks like ${other.format}`)
}

const notOnnx = (path: string, why: string, cause?: unknown): ModelNotServableError =>
  refuse(
    'MR_MODEL_NOT_ONNX',
    `${path} is not an ONNX file: ${why}.`,
    'Convert the model to ONNX (skl2onnx, torch.onnx.export, onnxmltools, tf2onnx).',
    cause,
  )

function readModel(file: ProtoFile, path: string): RawGraph {
  const raw = emptyGraph()
  try {
    readGraphOf(file, raw)
  } catch (cause) {
    if (!(cause instanceof ProtoError)) throw cause
    // ONNX begins with ir_version; a file that broke before that never was one.
    if (raw.irVersion === 0) throw notOnnx(path, `${cause.message} at byte ${cause.offset}`, cause)
    throw refuse(
      'MR_MODEL_CORRUPT',
      `${path} (${file.sizeBytes} bytes) is damaged or cut off at byte ${cause.offset}: ${cause.message}.`,
      'Export the model again, and copy it whole.',
      cause,
    )
  }
  if (raw.irVersion === 0 || !raw.hasGraph)
    throw notOnnx(path, raw.hasGraph ? 'it has no IR version' : 'it holds no graph')
  return raw
}

/** TensorProto.DataType → the protocol's name; what is missing here can't be sent or received. */
const DATATYPES: Record<number, Datatype> = {
  1: 'FP32',
  2: 'UINT8',
  3: 'INT8',
  4: 'UINT16',
  5: 'INT16',
  6: 'INT32',
  7: 'INT64',
  8: 'BYTES',
  9: 'BOOL',
  10: 'FP16',
  11: 'FP64',
  12: 'UINT32',
  13: 'UINT64',
}
const OTHER_TYPE_NAMES: Record<number, string> = {
  0: 'undefined',
  14: 'complex64',
  15: 'complex128',
  16: 'bfloat16',
  17: 'float8e4m3fn',
  18: 'float8e4m3fnuz',
  19: 'float8e5m2',
  20: 'float8e5m2fnuz',
  21: 'uint4',
  22: 'int4',
  23: 'float4e2m1',
}
const RUNTIME_DOMAINS = new Set(['', 'ai.onnx', 'ai.onnx.ml', 'com.microsoft', 'com.ms.internal.nhwc'])

function checkedFacts(raw: RawGraph, path: string, options: OnnxReading): OnnxFacts {
  refuseUnknownDomains(raw, path)
  if (options.zipMaps !== true) refuseZipMap(raw, path)
  const inputs = raw.inputs
    .filter((input) => !raw.initializers.has(input.name))
    .map((input) => servable(input, 'Input', path))
  const outputs = raw.outputs.filter(({ kind }) => kind === 'tensor').map((output) => servable(output, 'Output', path))
  const skippedOutputs = raw.outputs.filter(({ kind }) => kind !== 'tensor').map(({ name, kind }) => ({ name, kind }))
  if (inputs.length === 0)
    throw refuse(
      'MR_MODEL_SHAPE',
      `${path} has no inputs.`,
      'Export the model with its inputs left open, not folded into constants.',
    )
  if (outputs.length === 0) {
    const named = skippedOutputs.map(({ name, kind }) => `'${name}' (${kind})`).join(', ')
    throw refuse(
      'MR_MODEL_SHAPE',
      `${path} has no output that is a tensor${named ? `: only ${named}` : ''}.`,
      'Export the model so that it returns tensors.',
    )
  }
  return {
    irVersion: raw.irVersion,
    producer: raw.producer,
    opsets: raw.opsets,
    inputs,
    outputs,
    skippedOutputs,
    metadata: raw.metadata,
    externalFiles: options.weights === false ? [...raw.externalFiles] : checkedExternalFiles(raw, path),
    operators: [...raw.operators.values()],
  }
}

function refuseUnknownDomains(raw: RawGraph, path: string): void {
  const unknown = [...raw.operators].find(
    ([key, { domain }]) => !RUNTIME_DOMAINS.has(domain) && !raw.functions.has(key),
  )
  if (!unknown) return
  const { domain, type } = unknown[1]
  throw refuse(
    'MR_MODEL_UNSUPPORTED_OPERATOR',
    `${path} uses operator '${type}' of domain '${domain}', which ONNX Runtime does not have.`,
    'Replace it by standard ONNX operators before exporting.',
  )
}

function refuseZipMap(raw: RawGraph, path: string): void {
  const zipped = raw.outputs.find(({ kind }) => kind === 'sequence' || kind === 'map')
  if (!zipped || !raw.operators.has('ai.onnx.ml:ZipMap')) return
  throw refuse(
    'MR_MODEL_ZIPMAP',
    `${path} returns '${zipped.name}' as a list of dictionaries (operator ZipMap), which can't be sent as a tensor.`,
    "Convert it with options={'zipmap': False}: to_onnx(model, X, options={'zipmap': False}).",
  )
}

function servable(value: RawValue, role: 'Input' | 'Output', path: string): OnnxValue {
  const { name, kind, shape } = value
  const datatype = kind === 'tensor' ? DATATYPES[value.elementType] : undefined
  if (!datatype) {
    const type = kind === 'tensor' ? (OTHER_TYPE_NAMES[value.elementType] ?? `element type ${value.elementType}`) : kind
    throw refuse(
      'MR_MODEL_UNSUPPORTED_TYPE',
      `${role} '${name}' of ${path} is ${type}, which can't be served.`,
      'Cast it to float32, float64, an integer type, bool or string inside the graph.',
    )
  }
  if (name === '' || name === '__proto__')
    throw refuse(
      'MR_MODEL_SHAPE',
      `${role} '${name}' of ${path} has a name that can't be addressed.`,
      'Give it another name when exporting.',
    )
  if (shape && shape.length > MAX_RANK) {
    throw refuse(
      'MR_MODEL_SHAPE',
      `${role} '${name}' of ${path} has ${shape.length} axes; at most ${MAX_RANK} can be served.`,
      'Flatten it inside the graph.',
    )
  }
  return { name, datatype, shape }
}

/** The file's words lead nowhere but into its own folder: neither by `..` nor through a link. */
function checkedExternalFiles(raw: RawGraph, path: string): string[] {
  const folder = dirname(path)
  for (const file of raw.externalFiles) {
    if (file.includes('\0') || isAbsolute(file) || normalize(file).split(sep)[0] === '..') throw outside(path, file)
    if (statSync(join(folder, file), { throwIfNoEntry: false })?.isFile() !== true) {
      throw refuse(
        'MR_MODEL_EXTERNAL_DATA',
        `${path} keeps weights in '${file}', which is missing.`,
        'Copy all files of the export together, or export with external_data=False.',
      )
    }
    if (!realpathSync(join(folder, file)).startsWith(`${realpathSync(folder)}${sep}`)) throw outside(path, file)
  }
  return [...raw.externalFiles]
}

const outside = (path: string, file: string): ModelNotServableError =>
  refuse(
    'MR_MODEL_EXTERNAL_DATA',
    `${path} keeps weights in '${file}', outside its own folder.`,
    'Save the model with its weight files beside it.',
  )
