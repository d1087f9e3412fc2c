import type { Signature, TensorSpec } from '../model/signature.ts'
import { isObject } from './json.ts'
import type { Json } from './json.ts'
import { outlineOf } from './json-outline.ts'
import type { EncodedBody } from './encoded-body.ts'
import { ProtocolError } from './errors.ts'
import type { Steps } from './steps.ts'

/** What whoever answers a request owes. */
export interface OwedAnswer {
  /** Size of axis 0 of what has a dynamic one; null: nothing can be said of it. */
  rows: number | null
  /** Names of the outputs that must be there. */
  outputs: readonly string[]
}

const NOTHING: OwedAnswer = { rows: null, outputs: [] }

/**
 * Read of the request's own words, without its tensors' data: how many rows it has, and what it asks for. A request that
 * can't be read is for the server to refuse; where it answers all the same, it owes nothing.
 * @yields as outlineOf does
 */
export function* owedAnswer({ body, jsonBytes }: EncodedBody, signature: Signature): Steps<OwedAnswer> {
  if (jsonBytes === 0) return { rows: null, outputs: signature.outputs.map(({ name }) => name) }
  const json = yield* requestOf(body.subarray(0, jsonBytes ?? body.length))
  if (json === null) return NOTHING
  return { rows: rowsOf(json.inputs, signature), outputs: namesOf(json.outputs, signature) }
}

function* requestOf(head: Buffer): Steps<Json | null> {
  try {
    const { text } = yield* outlineOf(head)
    const json: unknown = JSON.parse(text)
    return isObject(json) ? json : null
  } catch (error) {
    if (error instanceof ProtocolError || error instanceof SyntaxError) return null
    throw error
  }
}

/** Of the inputs whose axis 0 the model leaves open, where they all say the same. */
function rowsOf(inputs: unknown, signature: Signature): number | null {
  if (!Array.isArray(inputs)) return null
  const open = new Set(signature.inputs.flatMap(({ name, shape }) => (shape[0] === -1 ? [name] : [])))
  const sizes = new Set<unknown>()
  for (const input of inputs)
    if (isObject(input) && open.has(input.name as string) && Array.isArray(input.shape)) sizes.add(input.shape[0])
  const [rows] = sizes
  return sizes.size === 1 && Number.isSafeInteger(rows) && (rows as number) >= 0 ? (rows as number) : null
}

/** Without names all are asked for. */
function namesOf(outputs: unknown, signature: Signature): string[] {
  const known = signature.outputs.map(({ name }) => name)
  if (!Array.isArray(outputs) || outputs.length === 0) return known
  const asked = new Set(outputs.flatMap((output) => (isObject(output) ? [output.name] : [])))
  return known.filter((name) => asked.has(name))
}

/**
 * Of one output, by its shape alone. Servers write `[n]` also as `[n, 1]`: what counts are the rows, and values a row.
 * @returns what is wrong, as text
 */
export function misshapen(
  { name, shape: wanted }: TensorSpec,
  shape: readonly number[],
  rows: number | null,
): string | null {
  if (wanted[0] === -1 && rows !== null && shape[0] !== rows)
    return `output '${name}' has ${shape.length === 0 ? 'no rows' : `${shape[0]} rows`}, and the request has ${rows}`
  const isOpen = wanted.some((size, axis) => size === -1 && axis > 0)
  const sizes = wanted[0] === -1 ? [shape[0] ?? 1, ...wanted.slice(1)] : wanted
  if (isOpen || productOf(sizes) === productOf(shape)) return null
  return `output '${name}' has the shape [${shape.join(', ')}], and the model gives [${wanted.join(', ')}]`
}

const productOf = (sizes: readonly number[]): number => sizes.reduce((product, size) => product * size, 1)
