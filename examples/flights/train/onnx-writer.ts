import { bytesField, concat, floatField, intField, packedFloats, packedInts, textField } from './protobuf.ts'
import type { Booster, Tree } from './gbdt.ts'

/**
 * Writes ONNX files: the messages of onnx.proto3 that a model over a table needs.
 * Numbers in the calls below are that file's field numbers. @see github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 */

/** TensorProto.DataType. */
export const elementTypes = { float: 1, string: 8 } as const

export interface OnnxGraph {
  name: string
  inputs: OnnxValue[]
  outputs: OnnxValue[]
  /** In the order in which they run. */
  nodes: OnnxNode[]
}

export interface OnnxValue {
  name: string
  type: keyof typeof elementTypes
  /** Axis sizes; a name stands for a size that is only known when the model runs. */
  shape: (number | string)[]
}

export interface OnnxNode {
  operator: string
  /** '' is the standard set. */
  domain?: '' | 'ai.onnx.ml'
  inputs: string[]
  outputs: string[]
  attributes?: Record<string, OnnxAttribute>
}

export type OnnxAttribute =
  | { int: number }
  | { float: number }
  | { text: string }
  | { ints: number[] }
  | { floats: number[] }
  | { texts: string[] }

/** Versions of the operator sets and of the format: old enough for every runtime of the last years. */
const OPSET = 17
const ML_OPSET = 3
const IR_VERSION = 8

/** The bytes of a `model.onnx`. */
export function writeOnnx(graph: OnnxGraph, metadata: Record<string, string> = {}): Uint8Array {
  return concat([
    intField(1, IR_VERSION),
    textField(2, 'millrace-flights-example'),
    bytesField(7, graphProto(graph)),
    bytesField(8, intField(2, OPSET)),
    bytesField(8, concat([textField(1, 'ai.onnx.ml'), intField(2, ML_OPSET)])),
    ...Object.entries(metadata).map(([key, value]) => bytesField(14, concat([textField(1, key), textField(2, value)]))),
  ])
}

/** Operator that looks a text up in a table; what isn't in the table becomes `otherwise`. */
export function lookUpNode(input: string, output: string, table: Map<string, number>, otherwise: number): OnnxNode {
  return {
    operator: 'LabelEncoder',
    domain: 'ai.onnx.ml',
    inputs: [input],
    outputs: [output],
    attributes: {
      keys_strings: { texts: [...table.keys()] },
      values_floats: { floats: [...table.values()] },
      default_float: { float: otherwise },
    },
  }
}

/** Operator that adds up what the trees say about each row of `[rows, features]`, as log-odds `[rows, 1]`. */
export function treesNode(input: string, output: string, booster: Booster): OnnxNode {
  return {
    operator: 'TreeEnsembleRegressor',
    domain: 'ai.onnx.ml',
    inputs: [input],
    outputs: [output],
    attributes: {
      n_targets: { int: 1 },
      base_values: { floats: [booster.base] },
      ...treeAttributes(booster.trees),
    },
  }
}

/** All nodes of all trees one after the other, in columns, as the operator wants them. */
function treeAttributes(trees: Tree[]): Record<string, OnnxAttribute> {
  const nodes = trees.flatMap((tree, treeId) => tree.feature.map((feature, node) => ({ tree, treeId, node, feature })))
  const leaves = nodes.filter(({ feature }) => feature < 0)
  const ints = (value: (node: (typeof nodes)[number]) => number) => ({ ints: nodes.map(value) })
  return {
    nodes_treeids: ints(({ treeId }) => treeId),
    nodes_nodeids: ints(({ node }) => node),
    nodes_modes: { texts: nodes.map(({ feature }) => (feature < 0 ? 'LEAF' : 'BRANCH_LEQ')) },
    nodes_featureids: ints(({ feature }) => Math.max(0, feature)),
    nodes_values: { floats: nodes.map(({ tree, node }) => tree.threshold[node]!) },
    nodes_truenodeids: ints(({ tree, node }) => tree.left[node]!),
    nodes_falsenodeids: ints(({ tree, node }) => tree.right[node]!),
    target_treeids: { ints: leaves.map(({ treeId }) => treeId) },
    target_nodeids: { ints: leaves.map(({ node }) => node) },
    target_ids: { ints: leaves.map(() => 0) },
    target_weights: { floats: leaves.map(({ tree, node }) => tree.value[node]!) },
  }
}

function graphProto(graph: OnnxGraph): Uint8Array {
  return concat([
    ...graph.nodes.map((node) => bytesField(1, nodeProto(node))),
    textField(2, graph.name),
    ...graph.inputs.map((value) => bytesField(11, valueInfoProto(value))),
    ...graph.outputs.map((value) => bytesField(12, valueInfoProto(value))),
  ])
}

function nodeProto(node: OnnxNode): Uint8Array {
  return concat([
    ...node.inputs.map((name) => textField(1, name)),
    ...node.outputs.map((name) => textField(2, name)),
    textField(3, `${node.operator}_${node.outputs[0]}`),
    textField(4, node.operator),
    ...Object.entries(node.attributes ?? {}).map(([name, value]) => bytesField(5, attributeProto(name, value))),
    textField(7, node.domain ?? ''),
  ])
}

/** The value in its own field, and in field 20 which of them it is. */
function attributeProto(name: string, value: OnnxAttribute): Uint8Array {
  return concat([textField(1, name), ...attributeValue(value)])
}

function attributeValue(value: OnnxAttribute): Uint8Array[] {
  if ('float' in value) return [floatField(2, value.float), intField(20, 1)]
  if ('int' in value) return [intField(3, value.int), intField(20, 2)]
  if ('text' in value) return [textField(4, value.text), intField(20, 3)]
  if ('floats' in value) return [packedFloats(7, value.floats), intField(20, 6)]
  if ('ints' in value) return [packedInts(8, value.ints), intField(20, 7)]
  return [...value.texts.map((text) => textField(9, text)), intField(20, 8)]
}

function valueInfoProto({ name, type, shape }: OnnxValue): Uint8Array {
  const dimensions = shape.map((size) =>
    bytesField(1, typeof size === 'string' ? textField(2, size) : intField(1, size)),
  )
  const tensorType = concat([intField(1, elementTypes[type]), bytesField(2, concat(dimensions))])
  return concat([textField(1, name), bytesField(2, bytesField(1, tensorType))])
}
