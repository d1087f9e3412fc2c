import { ProtoError } from './proto-reader.ts'
import type { ProtoField, ProtoFile } from './proto-reader.ts'

/* Reads the messages of onnx.proto3: one function for each, fields by their numbers there. */

/** What an ONNX file holds, as far as anybody here asks; not judged yet. */
export interface RawGraph {
  irVersion: number
  producer: string
  opsets: { domain: string; version: number }[]
  metadata: Record<string, string>
  functions: Set<string>
  operators: Map<string, { domain: string; type: string }>
  initializers: Set<string>
  externalFiles: Set<string>
  inputs: RawValue[]
  outputs: RawValue[]
  hasGraph: boolean
}

export interface RawValue {
  name: string
  kind: 'tensor' | 'sequence' | 'map' | 'optional' | 'sparse tensor' | 'unknown'
  elementType: number
  shape: number[] | null
}

/**
 * Reads a whole file into `raw`, which holds what came before where it breaks off.
 * @throws ProtoError
 */
export function readGraphOf(file: ProtoFile, raw: RawGraph): void {
  for (const field of file.fields(0, file.sizeBytes)) readModelField(file, field, raw)
}

export function emptyGraph(): RawGraph {
  return {
    irVersion: 0,
    producer: '',
    opsets: [],
    metadata: {},
    functions: new Set(),
    operators: new Map(),
    initializers: new Set(),
    externalFiles: new Set(),
    inputs: [],
    outputs: [],
    hasGraph: false,
  }
}

function readModelField(file: ProtoFile, field: ProtoField, raw: RawGraph): void {
  switch (field.number) {
    case 1:
      raw.irVersion = field.value
      break
    case 2:
      raw.producer = file.text(field)
      break
    case 7:
      raw.hasGraph = true
      readGraph(file, message(field), raw, 0)
      break
    case 8:
      raw.opsets.push(readOpset(file, message(field)))
      break
    case 14: {
      const [key, value] = readPair(file, message(field))
      raw.metadata[key] = value
      break
    }
    case 25:
      readFunction(file, message(field), raw)
      break
    default:
      break
  }
}

function message(field: ProtoField): ProtoField {
  if (field.wire !== 2) throw new ProtoError(`field ${field.number} should be a message`, field.start)
  return field
}

/** If, Loop and Scan nest graphs; more levels than this are no model of this world. */
const MAX_GRAPH_DEPTH = 32

function readGraph(file: ProtoFile, graph: ProtoField, raw: RawGraph, depth: number): void {
  if (depth > MAX_GRAPH_DEPTH) throw new ProtoError(`graphs nested more than ${MAX_GRAPH_DEPTH} deep`, graph.start)
  for (const field of file.fields(graph.start, graph.end)) {
    if (field.number === 1) readNode(file, message(field), raw, depth)
    else if (field.number === 5) readInitializer(file, message(field), raw, depth)
    else if (field.number === 15) readSparseInitializer(file, message(field), raw, depth)
    else if (field.number === 11 && depth === 0) raw.inputs.push(readValue(file, message(field)))
    else if (field.number === 12 && depth === 0) raw.outputs.push(readValue(file, message(field)))
  }
}

const HOLDS_GRAPHS = new Set(['If', 'Loop', 'Scan', 'SequenceMap'])

function readNode(file: ProtoFile, node: ProtoField, raw: RawGraph, depth: number): void {
  let type = ''
  let domain = ''
  const attributes: ProtoField[] = []
  for (const field of file.fields(node.start, node.end)) {
    if (field.number === 4) type = file.text(field)
    else if (field.number === 7) domain = file.text(field)
    else if (field.number === 5) attributes.push(message(field))
  }
  raw.operators.set(`${domain}:${type}`, { domain, type })
  // Tree ensembles carry attributes of a million numbers: only look where a graph can be.
  if (!HOLDS_GRAPHS.has(type)) return
  for (const attribute of attributes) {
    for (const field of file.fields(attribute.start, attribute.end)) {
      if (field.number === 6 || field.number === 11) readGraph(file, message(field), raw, depth + 1)
    }
  }
}

function readFunction(file: ProtoFile, fn: ProtoField, raw: RawGraph): void {
  let name = ''
  let domain = ''
  for (const field of file.fields(fn.start, fn.end)) {
    if (field.number === 1) name = file.text(field)
    else if (field.number === 10) domain = file.text(field)
    else if (field.number === 7) readNode(file, message(field), raw, 1)
  }
  raw.functions.add(`${domain}:${name}`)
}

function readInitializer(file: ProtoFile, tensor: ProtoField, raw: RawGraph, depth: number): void {
  for (const field of file.fields(tensor.start, tensor.end)) {
    if (field.number === 8 && depth === 0) raw.initializers.add(file.text(field))
    else if (field.number === 13) {
      const [key, value] = readPair(file, message(field))
      if (key === 'location') raw.externalFiles.add(value)
    }
  }
}

function readSparseInitializer(file: ProtoFile, sparse: ProtoField, raw: RawGraph, depth: number): void {
  for (const field of file.fields(sparse.start, sparse.end)) {
    if (field.number === 1) readInitializer(file, message(field), raw, depth)
  }
}

function readOpset(file: ProtoFile, opset: ProtoField): { domain: string; version: number } {
  const read = { domain: '', version: 0 }
  for (const field of file.fields(opset.start, opset.end)) {
    if (field.number === 1) read.domain = file.text(field)
    else if (field.number === 2) read.version = field.value
  }
  return read
}

function readPair(file: ProtoFile, pair: ProtoField): [key: string, value: string] {
  const read: [string, string] = ['', '']
  for (const field of file.fields(pair.start, pair.end)) {
    if (field.number === 1) read[0] = file.text(field)
    else if (field.number === 2) read[1] = file.text(field)
  }
  return read
}

const KINDS: Record<number, RawValue['kind']> = {
  1: 'tensor',
  4: 'sequence',
  5: 'map',
  8: 'sparse tensor',
  9: 'optional',
}

function readValue(file: ProtoFile, value: ProtoField): RawValue {
  const read: RawValue = { name: '', kind: 'unknown', elementType: 0, shape: null }
  for (const field of file.fields(value.start, value.end)) {
    if (field.number === 1) read.name = file.text(field)
    else if (field.number === 2) readType(file, message(field), read)
  }
  return read
}

function readType(file: ProtoFile, type: ProtoField, read: RawValue): void {
  for (const field of file.fields(type.start, type.end)) {
    const kind = KINDS[field.number]
    if (!kind) continue
    read.kind = kind
    if (kind !== 'tensor') continue
    for (const inner of file.fields(field.start, message(field).end)) {
      if (inner.number === 1) read.elementType = inner.value
      else if (inner.number === 2) read.shape = readShape(file, message(inner))
    }
  }
}

function readShape(file: ProtoFile, shape: ProtoField): number[] {
  const dims: number[] = []
  for (const field of file.fields(shape.start, shape.end)) {
    if (field.number !== 1) continue
    let size = -1
    // A name, an empty name, nothing at all or a negative number: each converter has its own way to say "dynamic".
    for (const inner of file.fields(field.start, message(field).end)) {
      if (inner.number === 1 && inner.value >= 0) size = inner.value
    }
    dims.push(size)
  }
  return dims
}
