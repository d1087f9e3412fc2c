import { numberToHalf } from '../../kernel/model/float16.ts'
import { hasBatchAxis } from '../../kernel/model/batch-axis.ts'
import type { OnnxModel } from '../../kernel/model/onnx-model.ts'
import type { Datatype, Signature } from '../../kernel/model/signature.ts'
import { allocate, elementCount, sliceRows } from '../../kernel/model/tensor.ts'
import type { Tensor, TensorData } from '../../kernel/model/tensor.ts'

type Tensors = Record<string, Tensor>

export interface WarmUp {
  /** True once it is shown that rows computed together equal rows computed alone. */
  stackable: boolean
  /** Inputs on which the model is known to work; null if none was found. */
  known: Tensors | null
  why: string
}

const PROBE_ROWS = 3

/**
 * First runs of a model, which are slow, and the proof that its rows may be stacked: shapes alone don't say whether
 * a model mixes its rows (normalising over the batch, say), and such a one would mix up callers.
 * @param sample - a real row or more; without it rows are made up, and a model that refuses those is served unstacked
 * @throws whatever the model throws on `sample`: it has to accept that
 */
export async function warmUp(model: OnnxModel, sample: Tensors | null): Promise<WarmUp> {
  if (sample) await model.run(sample)
  if (!hasBatchAxis(model.signature))
    return { ...(await firstThatRuns(model, sample)), stackable: false, why: 'its shapes have no dynamic first axis' }
  const made = syntheticInputs(model.signature, PROBE_ROWS)
  const together = await outputsOrNull(model, made)
  if (together === null)
    return {
      ...(await firstThatRuns(model, sample)),
      stackable: false,
      why: 'it refuses made-up rows, so nothing shows that its rows are independent',
    }
  for (let row = 0; row < PROBE_ROWS; row += 1) {
    const alone = await outputsOrNull(model, rowOf(made, row))
    if (alone === null || !sameRow(alone, together, row)) {
      return {
        stackable: false,
        known: sample ?? made,
        why: `row ${row} of ${PROBE_ROWS} is answered differently in company`,
      }
    }
  }
  return { stackable: true, known: sample ?? made, why: 'rows are independent' }
}

/** Beyond any doubt, first run or not. */
const SURELY_LONG_MS = 1_000
const MEASURED_RUNS = 3

/**
 * How long a run of one row takes at best: first runs cost more, and so does a busy machine. The rows that are tried are
 * those of `warmUp`.
 * @param enoughMs - what is no longer than this is not measured again
 * @returns null where no row is known that the model accepts
 */
export async function oneRowMs(model: OnnxModel, sample: Tensors | null, enoughMs: number): Promise<number | null> {
  const isBatch = hasBatchAxis(model.signature)
  const made = syntheticInputs(model.signature, 1)
  const candidates = sample ? [isBatch ? rowOf(sample, 0) : sample] : [made, zeroInputs(model.signature)]
  for (const row of candidates) {
    let bestMs = await runMs(model, row)
    if (bestMs === null) continue
    for (let run = 1; run < MEASURED_RUNS && bestMs > enoughMs && bestMs < SURELY_LONG_MS; run += 1)
      bestMs = Math.min(bestMs, (await runMs(model, row)) ?? bestMs)
    return bestMs
  }
  return null
}

/** What the processor spent on it, where that is less: on a busy machine a run waits for others. */
async function runMs(model: OnnxModel, inputs: Tensors): Promise<number | null> {
  const startMs = performance.now()
  const startCpu = process.cpuUsage()
  if ((await outputsOrNull(model, inputs)) === null) return null
  const tookMs = performance.now() - startMs
  const { user, system } = process.cpuUsage(startCpu)
  return Math.min(tookMs, (user + system) / 1_000)
}

async function firstThatRuns(model: OnnxModel, sample: Tensors | null): Promise<{ known: Tensors | null }> {
  if (sample) return { known: sample }
  for (const known of [syntheticInputs(model.signature, 1), zeroInputs(model.signature)]) {
    if (await outputsOrNull(model, known)) return { known }
  }
  return { known: null }
}

/** A model may well refuse made-up values: that alone says nothing against it. */
async function outputsOrNull(model: OnnxModel, inputs: Tensors): Promise<Tensors | null> {
  try {
    return await model.run(inputs)
  } catch {
    return null
  }
}

export function zeroInputs(signature: Signature): Tensors {
  return fill(signature, 1, (datatype, count) => allocate(datatype, count))
}

/** Different values in every row, always the same ones. */
export function syntheticInputs(signature: Signature, rows: number): Tensors {
  return fill(signature, rows, (datatype, count) => {
    const data = allocate(datatype, count)
    for (let i = 0; i < count; i += 1) put(data, datatype, i)
    return data
  })
}

function fill(signature: Signature, rows: number, make: (datatype: Datatype, count: number) => TensorData): Tensors {
  const inputs: Tensors = {}
  for (const { name, datatype, shape } of signature.inputs) {
    const sizes = shape.map((size, axis) => (size !== -1 ? size : axis === 0 ? rows : 1))
    inputs[name] = { datatype, shape: sizes, data: make(datatype, elementCount(sizes)) }
  }
  return inputs
}

function put(data: TensorData, datatype: Datatype, i: number): void {
  // Multiples of an irrational number: never twice the same, between −1 and 1.
  const value = (((i + 1) * 0.618_033_988_749_895) % 1) * 2 - 1
  const integer = i % PROBE_ROWS
  if (datatype === 'BYTES') (data as string[])[i] = `row-${i}`
  else if (datatype === 'FP16') (data as Uint16Array)[i] = numberToHalf(value)
  else if (datatype === 'FP32' || datatype === 'FP64') (data as Float64Array)[i] = value
  else if (datatype === 'INT64' || datatype === 'UINT64') (data as BigInt64Array)[i] = BigInt(integer)
  else if (datatype === 'BOOL') (data as Uint8Array)[i] = i % 2
  else (data as Int32Array)[i] = integer
}

function rowOf(inputs: Tensors, row: number): Tensors {
  return Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, sliceRows(tensor, row, row + 1)]))
}

function sameRow(alone: Tensors, together: Tensors, row: number): boolean {
  return Object.entries(together).every(([name, tensor]) => {
    const single = alone[name]!
    if (tensor.shape[0] !== PROBE_ROWS || single.shape[0] !== 1) return false
    return sameValues(single, sliceRows(tensor, row, row + 1))
  })
}

/** Matrix kernels round differently for one row and for several: near is equal. */
function sameValues(a: Tensor, b: Tensor): boolean {
  if (a.data.length !== b.data.length) return false
  for (let i = 0; i < a.data.length; i += 1) {
    const [x, y] = [a.data[i]!, b.data[i]!]
    if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue
    if (typeof x !== 'number' || typeof y !== 'number' || !(Math.abs(x - y) <= 1e-5 + 1e-3 * Math.abs(x))) return false
  }
  return true
}
