import { callerSignature } from '../model/signature.ts'
import type { Datatype, Signature, TensorSpec } from '../model/signature.ts'
import type { Combine } from './routing.ts'

/** Who takes part in a gather, as far as its signature goes. */
export interface GatherVoice {
  /** `model@version` */
  name: string
  signature: Signature
}

/** A member whose answers could never be combined with the others'. */
export interface Misfit {
  member: string
  why: string
}

export interface GatherSignature {
  /** What goes into the endpoint and what comes out. */
  signature: Signature
  /** Empty: every member fits. */
  misfits: Misfit[]
}

/**
 * What a gather takes and gives, and who can't take part. Members get the same request, so all take the inputs of the
 * first; what they give must be alike as far as it is combined:
 *
 * - `all`: anything; outputs are named `member/output`
 * - `first`: all outputs of the first member
 * - `mean`, `weighted`: its outputs of numbers with a fraction, or, where it has none, its integers, as FP64
 * - `vote`: its outputs of integers, texts, true and false
 * - `module`: anything, as the module says itself what it returns
 *
 * Pure. Both sides go by it: the control plane admits no misfit, and a gateway asks none.
 * @param voices - in order; none: nothing goes in or out
 */
export function gatherSignature(kind: Combine['kind'], voices: readonly GatherVoice[]): GatherSignature {
  const members = voices.map(({ name, signature }) => ({ name, signature: callerSignature(signature) }))
  const first = members[0]
  if (first === undefined) return { signature: { inputs: [], outputs: [] }, misfits: [] }
  const combined = combinedSpecs(kind, first.signature.outputs)
  if (combined.length === 0) {
    const misfits = members.map(({ name }) => ({ member: name, why: NOTHING[kind] ?? 'it has no output' }))
    return { signature: { inputs: first.signature.inputs, outputs: [] }, misfits }
  }
  const compared = kind === 'all' || kind === 'module' ? [] : combined
  const misfits = members.slice(1).flatMap(({ name, signature }) => {
    const why = misfit(first, signature, compared)
    return why === null ? [] : [{ member: name, why }]
  })
  const { inputs } = first.signature
  if (kind !== 'all') return { signature: { inputs, outputs: combined.map((spec) => resultOf(kind, spec)) }, misfits }
  const fitting = members.filter(({ name }) => !misfits.some((m) => m.member === name))
  return { signature: { inputs, outputs: fitting.flatMap((member) => ownOutputs(member)) }, misfits }
}

const NOTHING: Partial<Record<Combine['kind'], string>> = {
  mean: 'none of its outputs holds numbers that can be averaged',
  weighted: 'none of its outputs holds numbers that can be averaged',
  vote: 'none of its outputs holds labels (integers, texts, true or false) to vote on',
}

const INTEGERS: ReadonlySet<Datatype> = new Set<Datatype>([
  'INT8',
  'INT16',
  'INT32',
  'INT64',
  'UINT8',
  'UINT16',
  'UINT32',
  'UINT64',
])

const isFraction = ({ datatype }: Pick<TensorSpec, 'datatype'>): boolean => datatype === 'FP32' || datatype === 'FP64'
const isInteger = ({ datatype }: Pick<TensorSpec, 'datatype'>): boolean => INTEGERS.has(datatype)

/** Which of a member's outputs go into the answer. */
export function combinedSpecs<Spec extends Pick<TensorSpec, 'datatype'>>(
  kind: Combine['kind'],
  outputs: readonly Spec[],
): Spec[] {
  switch (kind) {
    case 'all':
    case 'first':
    case 'module':
      return [...outputs]
    case 'mean':
    case 'weighted': {
      const fractions = outputs.filter(isFraction)
      return fractions.length > 0 ? fractions : outputs.filter(isInteger)
    }
    case 'vote':
      return outputs.filter((spec) => isInteger(spec) || spec.datatype === 'BYTES' || spec.datatype === 'BOOL')
  }
}

/** Under which name a member's output stands in the answer of all. */
export const ownOutputName = (member: string, output: string): string => `${member}/${output}`

function ownOutputs({ name, signature }: GatherVoice): TensorSpec[] {
  return signature.outputs.map((spec) => ({
    ...spec,
    name: ownOutputName(name, spec.name),
    columns: spec.columns?.map((column) => ownOutputName(name, column)) ?? null,
  }))
}

function resultOf(kind: Combine['kind'], spec: TensorSpec): TensorSpec {
  const isAveraged = (kind === 'mean' || kind === 'weighted') && isInteger(spec)
  return isAveraged ? { ...spec, datatype: 'FP64' } : spec
}

function misfit(first: GatherVoice, { inputs, outputs }: Signature, compared: readonly TensorSpec[]): string | null {
  const extra = inputs.find(({ name }) => !first.signature.inputs.some((spec) => spec.name === name))
  if (extra !== undefined) return `it takes an input '${extra.name}', which ${first.name} does not`
  for (const spec of first.signature.inputs) {
    const why = unlike('input', first.name, spec, inputs)
    if (why !== null) return why
  }
  for (const spec of compared) {
    const why = unlike('output', first.name, spec, outputs)
    if (why !== null) return why
  }
  return null
}

function unlike(what: string, first: string, spec: TensorSpec, specs: readonly TensorSpec[]): string | null {
  const same = specs.find(({ name }) => name === spec.name)
  if (same === undefined) return `it has no ${what} '${spec.name}', as ${first} has`
  if (same.datatype !== spec.datatype)
    return `its ${what} '${spec.name}' is ${same.datatype}, that of ${first} is ${spec.datatype}`
  const fits =
    same.shape.length === spec.shape.length && same.shape.every((size, axis) => meets(size, spec.shape[axis]!))
  return fits
    ? null
    : `its ${what} '${spec.name}' has the shape [${same.shape.join(', ')}], that of ${first} [${spec.shape.join(', ')}]`
}

const meets = (one: number, other: number): boolean => one === other || one === -1 || other === -1
