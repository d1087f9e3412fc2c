import { callerSignature } from '../../kernel/model/signature.ts'
import type { Signature, TensorSpec } from '../../kernel/model/signature.ts'

/**
 * Why callers of `champion` could not be served by `challenger` without changing anything; empty where they can.
 * Inputs must be the same in name, type, width and columns; every output of the champion must still be there, alike.
 * Further outputs do no harm: callers read outputs by name. The size of axis 0, the batch, may only become dynamic.
 */
export function incompatibilities(challenger: Signature, champion: Signature): string[] {
  const asked = compareAll(callerSignature(challenger), callerSignature(champion))
  // Who sends all inputs, as they were sent before tables gave some, is served without them.
  const isServed = asked.length > 0 && compareAll(challenger, callerSignature(champion)).length === 0
  return isServed ? [] : asked
}

function compareAll(challenger: Signature, champion: Signature): string[] {
  return [
    ...champion.inputs.flatMap((input) => compare('input', find(challenger.inputs, input), input)),
    ...challenger.inputs
      .filter((input) => find(champion.inputs, input) === null)
      .map(({ name }) => `input '${name}' is new: callers don't send it`),
    ...champion.outputs.flatMap((output) => compare('output', find(challenger.outputs, output), output)),
  ]
}

function find(specs: TensorSpec[], like: TensorSpec): TensorSpec | null {
  return specs.find(({ name }) => name === like.name) ?? null
}

function compare(kind: 'input' | 'output', ours: TensorSpec | null, theirs: TensorSpec): string[] {
  const name = `${kind} '${theirs.name}'`
  if (ours === null) return [`${name} is gone`]
  if (ours.datatype !== theirs.datatype) return [`${name} is ${ours.datatype}, was ${theirs.datatype}`]
  if (!sameShape(kind, ours.shape, theirs.shape)) {
    return [`${name} has shape [${ours.shape.join(', ')}], had [${theirs.shape.join(', ')}]`]
  }
  return kind === 'input' ? compareColumns(name, ours.columns, theirs.columns) : []
}

/** An axis that is dynamic on either side fits any size: converters often leave an output's shape open. */
function sameShape(kind: 'input' | 'output', ours: number[], theirs: number[]): boolean {
  if (kind === 'output' && (isOpen(ours) || isOpen(theirs))) return true
  if (ours.length !== theirs.length) return false
  return ours.every((size, axis) => {
    if (axis === 0) return size === -1 || size === theirs[axis]
    return size === theirs[axis] || size === -1 || (kind === 'output' && theirs[axis] === -1)
  })
}

/** `[-1]` alone may stand for an output whose shape the file does not tell. */
function isOpen(shape: number[]): boolean {
  return shape.length <= 1 && (shape[0] ?? -1) === -1
}

function compareColumns(name: string, ours: string[] | null, theirs: string[] | null): string[] {
  if (ours === null || theirs === null) return []
  const gone = theirs.filter((column) => !ours.includes(column))
  const added = ours.filter((column) => !theirs.includes(column))
  if (gone.length > 0 || added.length > 0) {
    return [
      ...(gone.length > 0 ? [`${name} lost column ${gone.join(', ')}`] : []),
      ...(added.length > 0 ? [`${name} gained column ${added.join(', ')}`] : []),
    ]
  }
  return ours.every((column, i) => column === theirs[i]) ? [] : [`${name} has its columns in another order`]
}
