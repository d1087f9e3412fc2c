import { closeSync, fstatSync, openSync } from 'node:fs'
import { ProtoError, ProtoFile } from './proto-reader.ts'
import type { ProtoField } from './proto-reader.ts'
import { bytesField, digestOfFile, intField, messageField, textField, unchanged, writePieces } from './proto-writer.ts'
import type { Piece } from './proto-writer.ts'

/**
 * Converters of scikit-learn, XGBoost, LightGBM and CatBoost end a classifier by ZipMap, which turns its probabilities
 * `[N, C]` into a list of N dictionaries: no tensor, so that no protocol carries it and the runtime's binding fails on
 * it. The numbers are there just before it. So the node becomes a Cast to a float tensor `[N, C]`, and the class labels,
 * which were the dictionaries' keys, go into the file's metadata. A Cast, since skl2onnx hands doubles to ZipMap where its
 * example rows were doubles, as those of pandas are: such a file no runtime loads as it is.
 */

/** Metadata property: a JSON object, the class labels along the last axis by output, `{"output_probability": ["0", "1"]}`. */
export const CLASSES_PROPERTY = 'millrace.classes'
/** Metadata property: `sha256:<hex>` of the file that this one was made from. */
export const ORIGINAL_PROPERTY = 'millrace.original'

export interface ZipMapRewrite {
  /** `sha256:<hex>` of the file as it was. */
  original: string
  outputs: { name: string; classes: string[] }[]
}

/**
 * Writes the model without its ZipMap nodes to `target`, all else byte for byte as it was.
 * @param target - must not exist; is written only where there is something to rewrite
 * @returns null where there is no ZipMap, or none that can be taken out: inside of a nested graph, or with other nodes
 *   behind it. What is wrong with the file is for `readOnnxFile` to say.
 */
export async function rewriteZipMaps(source: string, target: string): Promise<ZipMapRewrite | null> {
  const found = findZipMaps(source)
  if (found === null) return null
  const original = await digestOfFile(source)
  await writePieces(source, modelPieces(found, original), target)
  return { original, outputs: found.zipMaps.map(({ output, classes }) => ({ name: output, classes })) }
}

interface ZipMap {
  node: ProtoField
  input: string
  output: string
  classes: string[]
}

interface Found {
  fields: ProtoField[]
  graph: ProtoField
  graphFields: ProtoField[]
  /** Those that are taken out. */
  zipMaps: ZipMap[]
  /** Of outputs and value infos among `graphFields`, by where they begin. */
  names: Map<number, string>
  /** What is dropped, as it is written anew. */
  ownMetadata: Set<ProtoField>
  classes: Record<string, string[]>
  hasStandardOperators: boolean
}

function findZipMaps(path: string): Found | null {
  const fd = openSync(path, 'r')
  try {
    return search(new ProtoFile(fd, fstatSync(fd).size))
  } catch (error) {
    if (error instanceof ProtoError) return null // readOnnxFile says what is broken
    throw error
  } finally {
    closeSync(fd)
  }
}

function search(file: ProtoFile): Found | null {
  const fields = [...file.fields(0, file.sizeBytes)]
  const [graph, ...others] = fields.filter(({ number }) => number === 7)
  if (graph === undefined || graph.wire !== 2 || others.length > 0) return null
  const graphFields = [...file.fields(graph.start, graph.end)]
  const used = new Set<string>()
  const candidates: ZipMap[] = []
  const names = new Map<number, string>()
  const outputs = new Set<string>()
  for (const field of graphFields) {
    if (field.number === 1) {
      const node = readNode(file, field, used, 0)
      if (node.isZipMap) candidates.push({ ...zipMapOf(file, node), node: field })
    } else if (field.number === 12 || field.number === 13) {
      const name = nameOf(file, field)
      names.set(field.at, name)
      if (field.number === 12) outputs.add(name)
    }
  }
  const zipMaps = candidates.filter(
    ({ input, output, classes }) => input !== '' && classes.length > 0 && outputs.has(output) && !used.has(output),
  )
  if (zipMaps.length === 0) return null
  return { fields, graph, graphFields, zipMaps, names, ...metadataOf(file, fields) }
}

interface Node {
  isZipMap: boolean
  inputs: string[]
  outputs: string[]
  attributes: ProtoField[]
}

const MAX_GRAPH_DEPTH = 32
const HOLDS_GRAPHS = new Set(['If', 'Loop', 'Scan', 'SequenceMap'])

/** @param used - gets the names that it reads, and those that graphs inside of it read */
function readNode(file: ProtoFile, field: ProtoField, used: Set<string>, depth: number): Node {
  const node: Node = { isZipMap: false, inputs: [], outputs: [], attributes: [] }
  let type = ''
  for (const part of file.fields(field.start, field.end)) {
    if (part.number === 1) node.inputs.push(file.text(part))
    else if (part.number === 2) node.outputs.push(file.text(part))
    else if (part.number === 4) type = file.text(part)
    else if (part.number === 5) node.attributes.push(part)
  }
  for (const name of node.inputs) used.add(name)
  node.isZipMap = type === 'ZipMap'
  if (HOLDS_GRAPHS.has(type)) for (const attribute of node.attributes) readNested(file, attribute, used, depth + 1)
  return node
}

function readNested(file: ProtoFile, attribute: ProtoField, used: Set<string>, depth: number): void {
  if (depth > MAX_GRAPH_DEPTH) throw new ProtoError('graphs nested too deep', attribute.start)
  for (const part of file.fields(attribute.start, attribute.end)) {
    if ((part.number !== 6 && part.number !== 11) || part.wire !== 2) continue
    for (const inner of file.fields(part.start, part.end)) {
      if (inner.number === 1 && inner.wire === 2) readNode(file, inner, used, depth)
    }
  }
}

function zipMapOf(file: ProtoFile, { inputs, outputs, attributes }: Node): Omit<ZipMap, 'node'> {
  const classes: string[] = []
  for (const attribute of attributes) {
    for (const part of file.fields(attribute.start, attribute.end)) {
      if (part.number === 8) for (const integer of integersIn(file.bytes(part), part.start)) classes.push(integer)
      else if (part.number === 9) classes.push(file.text(part))
    }
  }
  return { input: inputs[0] ?? '', output: outputs[0] ?? '', classes }
}

/** Seven bits a byte. */
const VARINT_BITS_MAX = 70n

/** One varint, or several where they are packed: labels may be any 64-bit integer. */
function integersIn(bytes: Uint8Array, at: number): string[] {
  const out: string[] = []
  let value = 0n
  let shift = 0n
  for (const byte of bytes) {
    value |= BigInt(byte & 0x7f) << shift
    shift += 7n
    if (byte >= 0x80) {
      if (shift >= VARINT_BITS_MAX) throw new ProtoError('a number of more than 10 bytes', at)
      continue
    }
    out.push(String(BigInt.asIntN(64, value)))
    value = 0n
    shift = 0n
  }
  return out
}

function nameOf(file: ProtoFile, valueInfo: ProtoField): string {
  for (const part of file.fields(valueInfo.start, valueInfo.end)) if (part.number === 1) return file.text(part)
  return ''
}

function metadataOf(
  file: ProtoFile,
  fields: readonly ProtoField[],
): Pick<Found, 'ownMetadata' | 'classes' | 'hasStandardOperators'> {
  const found: Pick<Found, 'ownMetadata' | 'classes' | 'hasStandardOperators'> = {
    ownMetadata: new Set(),
    classes: {},
    hasStandardOperators: false,
  }
  for (const field of fields) {
    if (field.number === 8) found.hasStandardOperators ||= isStandardOpset(file, field)
    if (field.number !== 14) continue
    const [key, value] = pairOf(file, field)
    if (key !== CLASSES_PROPERTY && key !== ORIGINAL_PROPERTY) continue
    found.ownMetadata.add(field)
    if (key === CLASSES_PROPERTY) found.classes = parseClasses(value) ?? {}
  }
  return found
}

function isStandardOpset(file: ProtoFile, opset: ProtoField): boolean {
  for (const part of file.fields(opset.start, opset.end))
    if (part.number === 1) return ['', 'ai.onnx'].includes(file.text(part))
  return true
}

function pairOf(file: ProtoFile, pair: ProtoField): [key: string, value: string] {
  const read: [string, string] = ['', '']
  for (const part of file.fields(pair.start, pair.end)) {
    if (part.number === 1) read[0] = file.text(part)
    else if (part.number === 2) read[1] = file.text(part)
  }
  return read
}

/** @returns null where it is no JSON object of lists of text */
export function parseClasses(text: string): Record<string, string[]> | null {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
    const lists: unknown[] = Object.values(value)
    const isList = (list: unknown) => Array.isArray(list) && list.every((label) => typeof label === 'string')
    return lists.every(isList) ? (value as Record<string, string[]>) : null
  } catch {
    return null // whoever needs it says what it is instead
  }
}

/** Old enough for every runtime that knows the file's other operators. */
const CAST_OPSET = 9

function modelPieces(found: Found, original: string): Piece[] {
  const { fields, zipMaps, ownMetadata, hasStandardOperators } = found
  const classes = { ...found.classes, ...Object.fromEntries(zipMaps.map((zip) => [zip.output, zip.classes])) }
  return [
    ...fields.flatMap((field) => {
      if (field.number === 7) return messageField(7, graphPieces(found))
      return ownMetadata.has(field) ? [] : [unchanged(field)]
    }),
    ...(hasStandardOperators ? [] : [bytesField(8, textField(1, ''), intField(2, CAST_OPSET))]),
    metadataField(CLASSES_PROPERTY, JSON.stringify(classes)),
    metadataField(ORIGINAL_PROPERTY, original),
  ]
}

const metadataField = (key: string, value: string) => bytesField(14, textField(1, key), textField(2, value))

function graphPieces({ graphFields, zipMaps, names }: Found): Piece[] {
  const byNode = new Map(zipMaps.map((zip) => [zip.node, zip]))
  const byOutput = new Map(zipMaps.map((zip) => [zip.output, zip]))
  return graphFields.flatMap((field) => {
    const node = byNode.get(field)
    if (node !== undefined) return [bytesField(1, castNode(node))]
    const zip = byOutput.get(names.get(field.at) ?? '')
    if (zip === undefined) return [unchanged(field)]
    return field.number === 12 ? [bytesField(12, tensorOutput(zip))] : []
  })
}

/** TensorProto.DataType */
const FLOAT = 1
/** AttributeProto.AttributeType */
const INT = 2

/** NodeProto with the attribute `to`. */
function castNode({ input, output }: ZipMap): Uint8Array {
  const to = bytesField(5, textField(1, 'to'), intField(3, FLOAT), intField(20, INT))
  return Buffer.concat([textField(1, input), textField(2, output), textField(3, output), textField(4, 'Cast'), to])
}

/** ValueInfoProto: float, any number of rows, one column per class. */
function tensorOutput({ output, classes }: ZipMap): Uint8Array {
  const shape = bytesField(2, bytesField(1), bytesField(1, intField(1, classes.length)))
  return Buffer.concat([textField(1, output), bytesField(2, bytesField(1, intField(1, FLOAT), shape))])
}
