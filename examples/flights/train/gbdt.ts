import { binColumn, quantileCuts, type BinnedColumn } from './binning.ts'
import {
  bestSplit,
  subtractHistogram,
  sumHistograms,
  type Histogram,
  type HistogramRows,
  type Split,
  type SplitRules,
  type Sums,
} from './histogram.ts'

/**
 * Gradient boosting of decision trees for a yes/no target, by histograms: each column is cut into at most 256 bins
 * once, then every tree is grown level by level, and each level costs one pass over the rows and columns.
 * Method: Friedman 2001 (boosting); Chen and Guestrin 2016, eq. 6 and 7 (second-order leaf values and gains).
 */

export interface BoostingOptions extends SplitRules {
  rounds: number
  /** Splits from the root to a leaf at most; 0 gives trees of one leaf. */
  depth: number
  /** Each tree's share of its best step. */
  learningRate: number
  /** Bins per column, 2 to 256. */
  bins: number
}

export const boostingDefaults: BoostingOptions = {
  rounds: 60,
  depth: 5,
  learningRate: 0.15,
  bins: 64,
  lambda: 1,
  minHessian: 20,
}

/** One tree as flat arrays, the root at 0. A row goes left where its value is at most the threshold. */
export interface Tree {
  /** Index of the column that is asked; −1 marks a leaf. */
  feature: number[]
  /** Exact in float32, as the columns are: both sides of a comparison survive the way into ONNX. */
  threshold: number[]
  left: number[]
  right: number[]
  /** What a leaf adds to the log-odds, exact in float32. */
  value: number[]
}

export interface Booster {
  /** Log-odds before the first tree: those of the training rows' average. */
  base: number
  trees: Tree[]
}

/**
 * Fits trees to the columns so that the logistic loss falls.
 * @param columns - one array per feature, all of the target's length
 * @param target - 0 or 1 for each row
 * @param onRound - told after each round how many are done
 * @throws RangeError if the target has one class only, or a column another length or a value that is not finite
 */
export function boost(
  columns: Float32Array[],
  target: Uint8Array,
  options: BoostingOptions = boostingDefaults,
  onRound: (done: number) => void = () => {},
): Booster {
  assertTrainable(columns, target)
  const base = Math.fround(logOdds(target))
  const binned = columns.map((column) => binColumn(column, quantileCuts(column, options.bins)))
  const rows = new BoostingRows(target, base)
  const trees: Tree[] = []
  for (let round = 0; round < options.rounds; round++) {
    rows.updateGradients()
    const tree = growTree(binned, rows, options)
    rows.addLeafValues(tree)
    trees.push(tree)
    onRound(round + 1)
  }
  return { base, trees }
}

/** Probability of 1 for each row of the columns. */
export function predict(booster: Booster, columns: Float32Array[]): Float64Array {
  const probabilities = new Float64Array(columns[0]?.length ?? 0)
  for (let row = 0; row < probabilities.length; row++) {
    let score = booster.base
    for (const tree of booster.trees) score += tree.value[leafOf(tree, columns, row)]!
    probabilities[row] = sigmoid(score)
  }
  return probabilities
}

function leafOf(tree: Tree, columns: Float32Array[], row: number): number {
  let node = 0
  while (tree.feature[node]! >= 0) {
    const goesLeft = columns[tree.feature[node]!]![row]! <= tree.threshold[node]!
    node = goesLeft ? tree.left[node]! : tree.right[node]!
  }
  return node
}

/** What boosting knows about each row: how wrong the score is, and in which node of the growing tree the row is. */
class BoostingRows implements HistogramRows {
  readonly gradient: Float64Array
  readonly hessian: Float64Array
  readonly node: Int32Array
  private readonly target: Uint8Array
  private readonly score: Float64Array

  constructor(target: Uint8Array, base: number) {
    this.target = target
    this.score = new Float64Array(target.length).fill(base)
    this.gradient = new Float64Array(target.length)
    this.hessian = new Float64Array(target.length)
    this.node = new Int32Array(target.length)
  }

  /** First and second derivative of the logistic loss by the log-odds; and back to the root. */
  updateGradients(): void {
    for (let row = 0; row < this.target.length; row++) {
      const probability = sigmoid(this.score[row]!)
      this.gradient[row] = probability - this.target[row]!
      this.hessian[row] = probability * (1 - probability)
    }
    this.node.fill(0)
  }

  sums(): Sums {
    const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0)
    return { gradient: sum(this.gradient), hessian: sum(this.hessian) }
  }

  addLeafValues(tree: Tree): void {
    for (let row = 0; row < this.score.length; row++) this.score[row]! += tree.value[this.node[row]!]!
  }
}

function growTree(columns: BinnedColumn[], rows: BoostingRows, options: BoostingOptions): Tree {
  const tree: Tree = { feature: [], threshold: [], left: [], right: [], value: [] }
  let open = [addLeaf(tree, rows.sums(), options)]
  let histograms = sumHistograms(columns, rows, [0], 1)
  for (let depth = 1; depth <= options.depth && open.length > 0; depth++) {
    const families = open.flatMap((leaf, index) => {
      const histogram = histograms[index]!
      const split = bestSplit(columns, histogram, leaf.sums, options)
      return split === null ? [] : [{ histogram, split, ...splitLeaf(tree, leaf.node, split, columns, options) }]
    })
    sendDown(tree, rows, families, columns)
    open = families.flatMap(({ left, right }) => [left, right])
    if (depth < options.depth) histograms = childHistograms(families, columns, rows, tree)
  }
  return tree
}

/** A leaf that may yet be split. */
interface OpenLeaf {
  node: number
  sums: Sums
}

/** A leaf that was split, and what it was split into. */
interface Family {
  node: number
  histogram: Histogram
  split: Split
  left: OpenLeaf
  right: OpenLeaf
}

/** Only the lighter child's rows are passed over; the other's histogram is the difference. */
function childHistograms(families: Family[], columns: BinnedColumn[], rows: BoostingRows, tree: Tree): Histogram[] {
  const isLeftLighter = ({ left, right }: Family) => left.sums.hessian < right.sums.hessian
  const lighter = families.map((family) => (isLeftLighter(family) ? family.left : family.right).node)
  const summed = sumHistograms(columns, rows, lighter, tree.feature.length)
  return families.flatMap((family, index) => {
    const light = summed[index]!
    const heavy = subtractHistogram(family.histogram, light)
    return isLeftLighter(family) ? [light, heavy] : [heavy, light]
  })
}

function addLeaf(tree: Tree, sums: Sums, options: BoostingOptions): OpenLeaf {
  const bestStep = -sums.gradient / (sums.hessian + options.lambda)
  tree.threshold.push(0)
  tree.left.push(0)
  tree.right.push(0)
  tree.value.push(Math.fround(bestStep * options.learningRate))
  return { node: tree.feature.push(-1) - 1, sums }
}

function splitLeaf(
  tree: Tree,
  node: number,
  split: Split,
  columns: BinnedColumn[],
  options: BoostingOptions,
): { node: number; left: OpenLeaf; right: OpenLeaf } {
  const left = addLeaf(tree, split.left, options)
  const right = addLeaf(tree, split.right, options)
  tree.feature[node] = split.feature
  tree.threshold[node] = columns[split.feature]!.cuts[split.lastBinLeft]!
  tree.left[node] = left.node
  tree.right[node] = right.node
  tree.value[node] = 0
  return { node, left, right }
}

function sendDown(tree: Tree, rows: BoostingRows, families: Family[], columns: BinnedColumn[]): void {
  if (families.length === 0) return
  const splitOf: (Split | undefined)[] = tree.feature.map(() => undefined)
  for (const { node, split } of families) splitOf[node] = split
  for (let row = 0; row < rows.node.length; row++) {
    const node = rows.node[row]!
    const split = splitOf[node]
    if (split === undefined) continue
    const goesLeft = columns[split.feature]!.bins[row]! <= split.lastBinLeft
    rows.node[row] = goesLeft ? tree.left[node]! : tree.right[node]!
  }
}

function assertTrainable(columns: Float32Array[], target: Uint8Array): void {
  const positives = target.reduce((sum, value) => sum + value, 0)
  if (positives === 0 || positives === target.length) {
    throw new RangeError(`All ${target.length} rows have the target ${target[0] ?? 'of none'}: nothing can be learnt.`)
  }
  columns.forEach((column, feature) => {
    if (column.length !== target.length) {
      throw new RangeError(`Column ${feature} has ${column.length} rows, the target ${target.length}.`)
    }
    const bad = column.findIndex((value) => !Number.isFinite(value))
    if (bad >= 0) throw new RangeError(`Column ${feature} is ${column[bad]} in row ${bad}: only finite numbers.`)
  })
}

function logOdds(target: Uint8Array): number {
  const positives = target.reduce((sum, value) => sum + value, 0)
  return Math.log(positives / (target.length - positives))
}

const sigmoid = (logit: number) => 1 / (1 + Math.exp(-logit))
