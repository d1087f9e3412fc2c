import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Signature } from '../../../src/kernel/model/signature.ts'
import { seededRandom } from '../../../src/kernel/stats/random.ts'
import { floatTensor, node, onnxModel, tensorValue } from '../../../src/testing/onnx-builder.ts'

export interface ServedModel {
  name: string
  path: string
  signature: Signature
  /** A v2 request of one row. */
  body: string
}

/** 10 numbers in, one out: costs next to nothing to compute, so that what is measured is the way there and back. */
export const writeSmallModel = (dir: string): ServedModel => writeMlp(dir, 'small', [10, 32, 1])

/** As large as networks on tables or small images are: reading its weights is what a run of one row costs. */
export const writeLargerModel = (dir: string): ServedModel => writeMlp(dir, 'mlp', [784, 512, 512, 10])

/** Fully connected layers `x[rows, first] → y[rows, last]` with ReLU in between; seeded. */
function writeMlp(dir: string, name: string, widths: readonly number[]): ServedModel {
  const random = seededRandom(1)
  const weights = (count: number, scale: number) => Array.from({ length: count }, () => random.normal() * scale)
  const nodes: Uint8Array[] = []
  const initializers: Uint8Array[] = []
  let from = 'x'
  for (let layer = 0; layer + 1 < widths.length; layer++) {
    const [width, next] = [widths[layer]!, widths[layer + 1]!]
    initializers.push(floatTensor(`w${layer}`, [width, next], weights(width * next, 1 / Math.sqrt(width))))
    initializers.push(floatTensor(`b${layer}`, [next], weights(next, 0.1)))
    const isLast = layer + 2 === widths.length
    const sum = isLast ? 'y' : `sum${layer}`
    nodes.push(node('Gemm', [from, `w${layer}`, `b${layer}`], [sum]))
    if (!isLast) nodes.push(node('Relu', [sum], [`relu${layer}`]))
    from = `relu${layer}`
  }
  const path = join(dir, `${name}.onnx`)
  const [first, last] = [widths[0]!, widths.at(-1)!]
  const inputs = [tensorValue('x', 'float', ['rows', first])]
  const outputs = [tensorValue('y', 'float', ['rows', last])]
  writeFileSync(path, onnxModel({ nodes, initializers, inputs, outputs }))
  const data = Array.from({ length: first }, () => Number(random.normal().toPrecision(7)))
  return {
    name,
    path,
    signature: {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, first], columns: null }],
      outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, last], columns: null }],
    },
    body: JSON.stringify({ inputs: [{ name: 'x', shape: [1, first], datatype: 'FP32', data }] }),
  }
}
