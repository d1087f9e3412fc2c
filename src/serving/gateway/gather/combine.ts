import { combinedSpecs, ownOutputName } from '../../../kernel/contract/gather-signature.ts'
import type { Misfit } from '../../../kernel/contract/gather-signature.ts'
import type { Combine } from '../../../kernel/contract/routing.ts'
import { allocate } from '../../../kernel/model/tensor.ts'
import type { Tensor } from '../../../kernel/model/tensor.ts'

/** One member's answer, read. */
export interface MemberAnswer {
  /** `model@version` */
  name: string
  weight: number
  outputs: Readonly<Record<string, Tensor>>
}

/** `misfits`: these answers can't be brought together with that of the first member. */
export type Combined = { kind: 'combined'; outputs: Record<string, Tensor> } | { kind: 'misfits'; misfits: Misfit[] }

/**
 * One answer of several. Pure, and the same for the same answers in the same order, which is that of the members.
 *
 * - `all`: every output of every member, as `member/output`
 * - `first`: the outputs of the only one
 * - `mean`: element by element; `weighted`: by the members' weights. Integers become FP64.
 * - `vote`: element by element the value with most weight; of equals the one that the earlier member gave
 * @param answers - at least one
 */
export function combine(kind: Exclude<Combine['kind'], 'module'>, answers: readonly MemberAnswer[]): Combined {
  const first = answers[0]!
  if (kind === 'first') return { kind: 'combined', outputs: { ...first.outputs } }
  if (kind === 'all') return { kind: 'combined', outputs: everyOutput(answers) }
  const wanted = wantedOutputs(kind, first)
  if (wanted.length === 0) return { kind: 'misfits', misfits: [{ member: first.name, why: NOTHING[kind] }] }
  const misfits = answers.slice(1).flatMap((answer) => {
    const why = misfit(first, answer, wanted)
    return why === null ? [] : [{ member: answer.name, why }]
  })
  if (misfits.length > 0) return { kind: 'misfits', misfits }
  const result = kind === 'vote' ? vote : average
  const weights = answers.map(({ weight }) => (kind === 'mean' ? 1 : weight))
  const outputs: Record<string, Tensor> = {}
  for (const name of wanted)
    outputs[name] = result(
      answers.map((answer) => answer.outputs[name]!),
      weights,
    )
  return { kind: 'combined', outputs }
}

const NOTHING = {
  mean: 'none of the outputs that it answered with holds numbers that can be averaged',
  weighted: 'none of the outputs that it answered with holds numbers that can be averaged',
  vote: 'none of the outputs that it answered with holds labels to vote on',
}

function everyOutput(answers: readonly MemberAnswer[]): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = {}
  for (const { name, outputs: own } of answers)
    for (const output in own) outputs[ownOutputName(name, output)] = own[output]!
  return outputs
}

function wantedOutputs(kind: 'mean' | 'weighted' | 'vote', { outputs }: MemberAnswer): string[] {
  const specs = Object.entries(outputs).map(([name, { datatype }]) => ({ name, datatype }))
  return combinedSpecs(kind, specs).map(({ name }) => name)
}

function misfit(first: MemberAnswer, answer: MemberAnswer, wanted: readonly string[]): string | null {
  for (const name of wanted) {
    const { datatype, shape } = first.outputs[name]!
    const same = Object.hasOwn(answer.outputs, name) ? answer.outputs[name] : undefined
    if (same === undefined) return `it answered without '${name}', as ${first.name} did not`
    if (same.datatype !== datatype) return `its '${name}' is ${same.datatype}, that of ${first.name} is ${datatype}`
    if (same.shape.length !== shape.length || same.shape.some((size, axis) => size !== shape[axis]))
      return `its '${name}' has the shape [${same.shape.join(', ')}], that of ${first.name} [${shape.join(', ')}]`
  }
  return null
}

type Numbers = Float32Array | Float64Array | Int32Array | BigInt64Array

/** A missing number (NaN) in one answer is missing in the mean. */
function average(tensors: readonly Tensor[], weights: readonly number[]): Tensor {
  const { datatype, shape, data } = tensors[0]!
  const sums = new Float64Array(data.length)
  let total = 0
  for (const [i, tensor] of tensors.entries()) {
    const weight = weights[i]!
    const values = tensor.data as Numbers
    for (let at = 0; at < sums.length; at += 1) sums[at]! += weight * Number(values[at])
    total += weight
  }
  for (let at = 0; at < sums.length; at += 1) sums[at]! /= total
  if (datatype !== 'FP32') return { datatype: 'FP64', shape, data: sums }
  return { datatype, shape, data: Float32Array.from(sums) }
}

function vote(tensors: readonly Tensor[], weights: readonly number[]): Tensor {
  const { datatype, shape, data } = tensors[0]!
  const elected = allocate(datatype, data.length) as Label[]
  const votes = new Map<Label, number>()
  for (let at = 0; at < data.length; at += 1) {
    votes.clear()
    for (const [i, tensor] of tensors.entries()) {
      const label = (tensor.data as ArrayLike<Label>)[at]!
      votes.set(label, (votes.get(label) ?? 0) + weights[i]!)
    }
    elected[at] = mostVoted(votes)
  }
  return { datatype, shape, data: elected as unknown as Tensor['data'] }
}

type Label = number | bigint | string

/** A Map keeps the order in which labels came, which is that of the members. */
function mostVoted(votes: ReadonlyMap<Label, number>): Label {
  let best: Label | undefined
  let most = -1
  for (const [label, weight] of votes) if (weight > most) [best, most] = [label, weight]
  return best!
}
