import { boost, type Booster } from '../../examples/flights/train/gbdt.ts'
import { treesNode, writeOnnx } from '../../examples/flights/train/onnx-writer.ts'
import { seededRandom } from '../../src/kernel/stats/random.ts'

/** A small model over a table: 60 trees of depth 5 on 10 columns, as ONNX, with rows to measure it on. */

export const columns = ['c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9'] as const
export const label = 'y'

export interface Rows {
  columns: Float32Array[]
  target: Uint8Array
}

/** Rows whose target depends on the first columns more than on the last ones, with noise. */
export function makeRows(count: number, seed: number): Rows {
  const random = seededRandom(seed)
  const table = columns.map(() =>
    Float32Array.from({ length: count }, () => Math.round(random.normal() * 1_000) / 1_000),
  )
  const target = Uint8Array.from({ length: count }, (_, row) => {
    const score = table.reduce((sum, column, i) => sum + column[row]! / (i + 1), 0) + table[0]![row]! * table[1]![row]!
    return random.uniform() < 1 / (1 + Math.exp(-score)) ? 1 : 0
  })
  return { columns: table, target }
}

export function toCsv(rows: Rows): string {
  const lines = Array.from(rows.target, (y, row) => `${rows.columns.map((column) => column[row]).join(',')},${y}`)
  return `${columns.join(',')},${label}\n${lines.join('\n')}\n`
}

export const fitTrees = (rows: Rows): Booster => boost(rows.columns, rows.target)

/**
 * One input per column, `[rows, 1]`, and the output `probability`.
 * @param shift - added to every log-odds: a model that is another one, and hardly better or worse
 */
export function toOnnx(booster: Booster, shift = 0): Uint8Array {
  return writeOnnx({
    name: 'trees',
    inputs: columns.map((name) => ({ name, type: 'float', shape: ['rows', 1] })),
    outputs: [{ name: 'probability', type: 'float', shape: ['rows', 1] }],
    nodes: [
      { operator: 'Concat', inputs: [...columns], outputs: ['features'], attributes: { axis: { int: 1 } } },
      treesNode('features', 'log_odds', { ...booster, base: booster.base + shift }),
      { operator: 'Sigmoid', inputs: ['log_odds'], outputs: ['probability'] },
    ],
  })
}

/** An Open Inference Protocol request with one row. */
export function inferBody(): string {
  const input = (name: string, index: number) => ({ name, datatype: 'FP32', shape: [1, 1], data: [index / 10] })
  return JSON.stringify({ inputs: columns.map(input) })
}
