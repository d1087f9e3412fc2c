import type { Signature, TensorSpec } from '../model/signature.ts'
import { ProtocolError } from './errors.ts'
import { isObject } from './json.ts'
import { flag, refuseSharedMemory } from './request-parameters.ts'

/** Which outputs a request asks for, and which of them as bytes. */
export interface RequestedOutputs {
  /** In the order asked for, once each; null for all. */
  names: string[] | null
  /** Those that are wanted as bytes behind the JSON; the others as JSON. */
  binary: ReadonlySet<string>
}

const NOTHING: ReadonlySet<string> = new Set()
const ALL_AS_JSON: RequestedOutputs = Object.freeze({ names: null, binary: NOTHING })

/**
 * What an output says of itself (`binary_data`) counts before what the request says (`binary_data_output`), and JSON
 * is the rule. An output that is named twice is as its last mention says.
 * @param binaryOutput - the request's `binary_data_output`
 * @throws ProtocolError 400
 */
export function readRequestedOutputs(json: unknown, binaryOutput: boolean, signature: Signature): RequestedOutputs {
  if (json !== undefined && json !== null && !Array.isArray(json))
    throw new ProtocolError(400, `'outputs' must be an array`)
  if (!json || json.length === 0) return binaryOutput ? allBinary(signature) : ALL_AS_JSON
  const wanted = new Map<string, boolean>()
  for (const output of json) {
    if (!isObject(output) || typeof output.name !== 'string')
      throw new ProtocolError(400, `Each of 'outputs' must be an object with a 'name'`)
    wanted.set(output.name, readBinary(output.name, output.parameters) ?? binaryOutput)
  }
  const names = [...wanted.keys()]
  const unknown = names.find((name) => !signature.outputs.some((spec) => spec.name === name))
  if (unknown !== undefined)
    throw new ProtocolError(400, `Unknown output '${unknown}': the model has ${listNames(signature.outputs)}`)
  return { names, binary: new Set(names.filter((name) => wanted.get(name))) }
}

function readBinary(name: string, parameters: unknown): boolean | null {
  if (parameters === undefined || parameters === null) return null
  const what = `Output '${name}'`
  if (!isObject(parameters)) throw new ProtocolError(400, `${what}: 'parameters' must be an object`)
  refuseSharedMemory(parameters, what)
  if (parameters.classification)
    throw new ProtocolError(400, `${what}: 'classification' is not supported; read the classes from the output itself`)
  return flag(parameters.binary_data, `${what}: 'binary_data'`)
}

const allBinaryOf = new WeakMap<Signature, RequestedOutputs>()

/** All outputs as bytes. */
export function allBinary(signature: Signature): RequestedOutputs {
  let all = allBinaryOf.get(signature)
  if (!all)
    allBinaryOf.set(signature, (all = { names: null, binary: new Set(signature.outputs.map(({ name }) => name)) }))
  return all
}

export const listNames = (specs: readonly TensorSpec[]): string => specs.map(({ name }) => `'${name}'`).join(', ')
