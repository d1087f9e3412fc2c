import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { boost, boostingDefaults, predict, type BoostingOptions } from './gbdt.ts'

const oneTree: BoostingOptions = {
  ...boostingDefaults,
  rounds: 1,
  learningRate: 1,
  lambda: 0,
  minHessian: 0,
  bins: 256,
}

describe('gradient boosting', () => {
  it('splits where the outcome changes and gives each side its own rate', () => {
    const column = Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8])
    const late = Uint8Array.from([0, 0, 0, 1, 1, 1, 1, 0])
    const { trees, base } = boost([column], late, { ...oneTree, depth: 1 })
    expect(base).toBe(0) // 4 of 8
    expect(trees[0]).toMatchObject({ feature: [0, -1, -1], threshold: [3, 0, 0] })
    // One Newton step from log-odds 0: (positives − rows / 2) ÷ (rows / 4).
    expect(trees[0]!.value).toEqual([0, Math.fround(-1.5 / 0.75), Math.fround(1.5 / 1.25)])
  })

  it('learns exclusive or, which needs two levels', () => {
    const left = Float32Array.from([0, 0, 1, 1, 0, 0, 1, 1, 0])
    const right = Float32Array.from([0, 1, 0, 1, 0, 1, 0, 1, 0])
    const late = Uint8Array.from([0, 1, 1, 0, 0, 1, 1, 0, 0])
    const booster = boost([left, right], late, { ...oneTree, rounds: 20, depth: 2, learningRate: 0.5 })
    const decisions = Array.from(predict(booster, [left, right]), (probability) => (probability > 0.5 ? 1 : 0))
    expect(decisions).toEqual([...late])
  })

  it('predicts the average where no column says anything', () => {
    const constant = new Float32Array(10).fill(7)
    const late = Uint8Array.from([1, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    const probabilities = predict(boost([constant], late), [constant])
    expect(Math.max(...probabilities)).toBeCloseTo(0.2, 6)
    expect(Math.min(...probabilities)).toBeCloseTo(0.2, 6)
  })

  it('takes the best of all possible first splits, as found by trying each one', () => {
    const rows = fc.array(
      fc.record({ a: fc.integer({ min: 0, max: 9 }), b: fc.integer({ min: 0, max: 4 }), late: fc.boolean() }),
      { minLength: 4, maxLength: 40 },
    )
    fc.assert(
      fc.property(rows, fc.double({ min: 0, max: 2, noNaN: true }), (table, minHessian) => {
        fc.pre(table.some(({ late }) => late) && table.some(({ late }) => !late))
        const columns = [Float32Array.from(table, ({ a }) => a), Float32Array.from(table, ({ b }) => b)]
        const late = Uint8Array.from(table, (row) => Number(row.late))
        fc.pre(!isTooCloseToCall(late, minHessian))
        const options = { ...oneTree, depth: 1, lambda: 1, minHessian }
        const { feature, threshold } = boost(columns, late, options).trees[0]!
        const best = bestGainByTrying(columns, late, options)
        const taken = feature[0] === -1 ? 0 : gainOf(columns[feature[0]!]!, threshold[0]!, late, options)
        expect(Math.abs(taken - best)).toBeLessThan(1e-5)
      }),
    )
  })

  it('lets the training loss fall with every round', () => {
    const random = generator(7)
    const column = Float32Array.from({ length: 2_000 }, random)
    const late = Uint8Array.from(column, (value) => Number(random() < 0.1 + 0.5 * value * value))
    const losses = [1, 5, 20, 60].map((rounds) => {
      const booster = boost([column], late, { ...boostingDefaults, rounds })
      return logLoss(late, predict(booster, [column]))
    })
    expect(losses).toEqual(losses.toSorted((a, b) => b - a))
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.01)
  })

  it('keeps to the depth and to the weight that each side of a split needs', () => {
    const random = generator(11)
    const column = Float32Array.from({ length: 1_000 }, random)
    const late = Uint8Array.from(column, (value) => Number(random() < value))
    const { trees } = boost([column], late, { ...boostingDefaults, rounds: 3, depth: 3, minHessian: 30 })
    for (const tree of trees) {
      expect(tree.feature.length).toBeLessThanOrEqual(2 ** 4 - 1)
      const rowsOf = new Map<number, number>()
      column.forEach((value) => {
        let node = 0
        while (tree.feature[node]! >= 0) node = value <= tree.threshold[node]! ? tree.left[node]! : tree.right[node]!
        rowsOf.set(node, (rowsOf.get(node) ?? 0) + 1)
      })
      for (const rows of rowsOf.values()) expect(rows).toBeGreaterThanOrEqual(30 / 0.25)
    }
  })

  it('gives the same trees for the same rows', () => {
    const random = generator(3)
    const columns = [Float32Array.from({ length: 500 }, random), Float32Array.from({ length: 500 }, random)]
    const late = Uint8Array.from({ length: 500 }, () => Number(random() < 0.3))
    expect(boost(columns, late)).toEqual(boost(columns, late))
  })

  it('refuses rows from which nothing can be learnt, saying which', () => {
    const column = Float32Array.from([1, 2, 3])
    expect(() => boost([column], Uint8Array.from([0, 0, 0]))).toThrow('All 3 rows have the target 0')
    expect(() => boost([column], Uint8Array.from([0, 1]))).toThrow('Column 0 has 3 rows, the target 2')
    expect(() => boost([Float32Array.from([1, NaN, 3])], Uint8Array.from([0, 1, 1]))).toThrow(
      'Column 0 is NaN in row 1',
    )
  })
})

function bestGainByTrying(columns: Float32Array[], late: Uint8Array, options: BoostingOptions): number {
  const gains = columns.flatMap((column) => [...new Set(column)].map((cut) => gainOf(column, cut, late, options)))
  return Math.max(0, ...gains)
}

/** Whether the weight of some number of rows is the limit itself but for rounding: then either answer is right. */
function isTooCloseToCall(late: Uint8Array, minHessian: number): boolean {
  const rate = late.reduce((sum, value) => sum + value, 0) / late.length
  return Array.from(late, (_, row) => (row + 1) * rate * (1 - rate)).some(
    (weight) => Math.abs(weight - minHessian) < 1e-6,
  )
}

/** Gain by its definition: how much the best second-order approximation of the loss falls, twice. */
function gainOf(column: Float32Array, cut: number, late: Uint8Array, { lambda, minHessian }: BoostingOptions): number {
  const rate = late.reduce((sum, value) => sum + value, 0) / late.length
  const sums = (rows: number[]) => ({
    gradient: rows.reduce((sum, row) => sum + rate - late[row]!, 0),
    hessian: rows.length * rate * (1 - rate),
  })
  const all = [...late.keys()]
  const sides = [all.filter((row) => column[row]! <= cut), all.filter((row) => column[row]! > cut)]
  if (sides.some((side) => side.length === 0 || sums(side).hessian < minHessian)) return 0
  const strength = (rows: number[]) => sums(rows).gradient ** 2 / (sums(rows).hessian + lambda)
  return strength(sides[0]!) + strength(sides[1]!) - strength(all)
}

function logLoss(late: Uint8Array, probabilities: Float64Array): number {
  const losses = Array.from(probabilities, (probability, row) => -Math.log(late[row] ? probability : 1 - probability))
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length
}

/** Numbers from 0 to 1, the same for the same seed (a linear congruential generator). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
