import type { BinnedColumn } from './binning.ts'

/** What a split must satisfy. */
export interface SplitRules {
  /** Draws leaf values towards 0. */
  lambda: number
  /** Each side needs so much second derivative: about five times as many rows where one in four is a 1. */
  minHessian: number
}

/** Sums over rows of the first and second derivative of the loss by the score. */
export interface Sums {
  gradient: number
  hessian: number
}

export interface Split {
  feature: number
  /** Rows in this bin and in those before it go left. */
  lastBinLeft: number
  /** By how much the loss falls, twice, before shrinkage. */
  gain: number
  left: Sums
  right: Sums
}

/** A node's sums for each feature and bin: `[feature][bin][gradient, hessian]`, flattened, as many bins for each. */
export type Histogram = Float64Array

/** The rows to add up: their derivatives, and the node in which each of them lies. */
export interface HistogramRows {
  gradient: Float64Array
  hessian: Float64Array
  node: Int32Array
}

/**
 * The histograms of some nodes, in their order, in one pass over the rows that lie in them.
 * @param nodeCount - how many nodes the tree has
 */
export function sumHistograms(
  columns: BinnedColumn[],
  rows: HistogramRows,
  nodes: number[],
  nodeCount: number,
): Histogram[] {
  const bins = binsPerFeature(columns)
  const cellsPerNode = 2 * columns.length * bins
  const cells = new Float64Array(nodes.length * cellsPerNode)
  const firstCell = new Int32Array(nodeCount).fill(-1)
  nodes.forEach((node, index) => (firstCell[node] = index * cellsPerNode))
  const members = membersOf(rows.node, firstCell)
  columns.forEach((column, feature) => addColumn(column.bins, rows, members, firstCell, 2 * feature * bins, cells))
  return nodes.map((_, index) => cells.subarray(index * cellsPerNode, (index + 1) * cellsPerNode))
}

/** What is left of a node's histogram without one of its children: the other child's, without a pass over its rows. */
export function subtractHistogram(parent: Histogram, child: Histogram): Histogram {
  return parent.map((sum, cell) => sum - child[cell]!)
}

/** Numbers of the rows whose node has cells. */
function membersOf(node: Int32Array, firstCell: Int32Array): Int32Array {
  const members = new Int32Array(node.length)
  let count = 0
  for (let row = 0; row < node.length; row++) {
    if (firstCell[node[row]!]! >= 0) members[count++] = row
  }
  return members.subarray(0, count)
}

/** This loop is most of the training time. */
function addColumn(
  bins: Uint8Array,
  { gradient, hessian, node }: HistogramRows,
  members: Int32Array,
  firstCell: Int32Array,
  offset: number,
  cells: Float64Array,
): void {
  for (let index = 0; index < members.length; index++) {
    const row = members[index]!
    const cell = firstCell[node[row]!]! + offset + 2 * bins[row]!
    cells[cell]! += gradient[row]!
    cells[cell + 1]! += hessian[row]!
  }
}

const binsPerFeature = (columns: BinnedColumn[]) => 1 + Math.max(0, ...columns.map((column) => column.cuts.length))

/** A split that gains less isn't worth two leaves; it also stops splits that only move rounding errors. */
const GAIN_MIN = 1e-6

/**
 * The split of a node that lets the loss fall most.
 * @param total - the node's sums over all bins
 * @returns null where no split gains anything or leaves both sides heavy enough
 */
export function bestSplit(columns: BinnedColumn[], histogram: Histogram, total: Sums, rules: SplitRules): Split | null {
  const bins = binsPerFeature(columns)
  let best: Split | null = null
  columns.forEach(({ cuts }, feature) => {
    const left: Sums = { gradient: 0, hessian: 0 }
    for (let bin = 0; bin < cuts.length; bin++) {
      const cell = 2 * (feature * bins + bin)
      left.gradient += histogram[cell]!
      left.hessian += histogram[cell + 1]!
      const right = { gradient: total.gradient - left.gradient, hessian: total.hessian - left.hessian }
      if (left.hessian < rules.minHessian || right.hessian < rules.minHessian) continue
      const gain = strength(left, rules) + strength(right, rules) - strength(total, rules)
      if (gain > (best?.gain ?? GAIN_MIN)) best = { feature, lastBinLeft: bin, gain, left: { ...left }, right }
    }
  })
  return best
}

/** Twice the fall of the loss if these rows get the score that is best for them. */
const strength = ({ gradient, hessian }: Sums, { lambda }: SplitRules) => (gradient * gradient) / (hessian + lambda)
