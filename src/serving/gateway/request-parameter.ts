import { ProtocolError } from '../../kernel/protocol/inference.ts'
import { outlineOf } from '../../kernel/protocol/json-outline.ts'
import type { SeenSoFar } from '../../kernel/protocol/json-outline.ts'
import { HIGHEST_PRIORITY } from './decide-shedding.ts'

/** What the bodies of requests say about themselves, without parsing them: most say nothing, and all of them are asked. */
export interface JsonBody {
  body: Buffer
  /** Length of the JSON at the head of `body`; null: it is all JSON; 0: none. */
  jsonBytes: number | null
}

/** JSON that names the parameter is parsed as a whole up to this size; in more, its `parameters` are looked for. */
const PARSED_BYTES_MAX = 256 * 1_024
/** Of lists of texts, which have to be read to find their end: so many megabytes of them are, at one go. */
const TEXT_STEPS_MAX = 4

/**
 * A parameter of the request itself: `{"parameters": {"timeout": 5000}, "inputs": […]}`. Looked for as text; only where it
 * turns up, JSON is parsed: all of it, or, where it is large, its `parameters` alone.
 * @param name - needs no escaping in JSON
 * @returns undefined where the request does not have it; also where it stands behind more than 4 MB of texts, or
 *   1 MB of what is no tensor's data
 * @see open-inference-protocol, inference_rest.md, "Inference Request JSON Object"
 */
export function requestParameter({ body, jsonBytes }: JsonBody, name: string): unknown {
  const end = jsonBytes === null ? body.length : Math.min(jsonBytes, body.length)
  const json = end === body.length ? body : body.subarray(0, end)
  if (!json.includes(quotedName(name))) return undefined
  return end <= PARSED_BYTES_MAX ? parametersOf(json.toString('utf8'))?.[name] : parametersOfLarge(body, json)?.[name]
}

/** The request's `priority`: 1 is the highest, which those have too that say nothing, 0, or no number. */
export function requestPriority(body: JsonBody): number {
  const priority = requestParameter(body, 'priority')
  return typeof priority === 'number' && priority >= 1 ? priority : HIGHEST_PRIORITY
}

const quotedNames = new Map<string, Buffer>()

/** As bytes, which are searched for faster than text. The names are the few that routes and this gateway ask for. */
function quotedName(name: string): Buffer {
  const known = quotedNames.get(name)
  if (known !== undefined) return known
  const quoted = Buffer.from(`"${name}"`)
  if (quotedNames.size < QUOTED_NAMES_MAX) quotedNames.set(name, quoted)
  return quoted
}

const QUOTED_NAMES_MAX = 1_000

function parametersOf(text: string): Record<string, unknown> | undefined {
  try {
    const { parameters } = JSON.parse(text) as { parameters?: unknown }
    return typeof parameters === 'object' && parameters !== null ? (parameters as Record<string, unknown>) : undefined
  } catch {
    return undefined // not JSON, which whoever reads the body will say
  }
}

/** Of large requests: every route key that is asked for asks anew. */
const ofLarge = new WeakMap<Buffer, Record<string, unknown>>()

function parametersOfLarge(body: Buffer, json: Buffer): Record<string, unknown> {
  const before = ofLarge.get(body)
  if (before !== undefined) return before
  const range = parametersIn(json)
  const text = range === null ? '' : `{"parameters":${json.toString('utf8', range.from, range.to)}}`
  const parameters = parametersOf(text) ?? {}
  ofLarge.set(body, parameters)
  return parameters
}

/** Null where there are none, or not before it takes too long; too much beside the data the model server refuses. */
function parametersIn(json: Buffer): SeenSoFar['parameters'] {
  const seen: SeenSoFar = { parameters: null }
  const outline = outlineOf(json, seen)
  try {
    for (let step = 0; step < TEXT_STEPS_MAX; step += 1) if (outline.next().done === true) break
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
  }
  return seen.parameters
}
