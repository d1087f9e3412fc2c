import { HIGHEST_PRIORITY } from './decide-shedding.ts'

/** What the bodies of requests say about themselves, without parsing them: most say nothing, and all of them are asked. */
export interface JsonBody {
  body: Buffer
  /** Length of the JSON at the head of `body`; null: it is all JSON; 0: none. */
  jsonBytes: number | null
}

/** Clients write `parameters` before the inputs or behind them; what lies further inside is tensors' data. */
const WINDOW_BYTES = 4_096
/** JSON that names the parameter is parsed as a whole up to this size. */
const PARSED_BYTES_MAX = 256 * 1_024

/**
 * A parameter of the request itself: `{"parameters": {"timeout": 5000}, "inputs": […]}`. Looked for as text in the first and
 * last 4 KB of the JSON; only where it turns up there, JSON is parsed: all of it, or the object alone where it is large.
 * @param name - needs no escaping in JSON
 * @returns undefined where the request does not have it there
 * @see open-inference-protocol, inference_rest.md, "Inference Request JSON Object"
 */
export function requestParameter({ body, jsonBytes }: JsonBody, name: string): unknown {
  const end = jsonBytes === null ? body.length : Math.min(jsonBytes, body.length)
  const at = indexOfQuoted(body, end, quotedName(name))
  if (at < 0) return undefined
  if (end <= PARSED_BYTES_MAX) return parametersOf(body.toString('utf8', 0, end))?.[name]
  return parametersOf(`{${parametersAround(body, at, end)}}`)?.[name]
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

function indexOfQuoted(body: Buffer, end: number, quoted: Buffer): number {
  if (end <= 2 * WINDOW_BYTES) return within(body, 0, end, quoted)
  const first = within(body, 0, WINDOW_BYTES, quoted)
  return first >= 0 ? first : within(body, end - WINDOW_BYTES, end, quoted)
}

function within(body: Buffer, from: number, to: number, quoted: Buffer): number {
  if (to === body.length) return body.indexOf(quoted, from)
  const at = body.subarray(from, to).indexOf(quoted)
  return at < 0 ? -1 : from + at
}

function parametersOf(text: string): Record<string, unknown> | undefined {
  try {
    const { parameters } = JSON.parse(text) as { parameters?: unknown }
    return typeof parameters === 'object' && parameters !== null ? (parameters as Record<string, unknown>) : undefined
  } catch {
    return undefined // not JSON, which whoever reads the body will say
  }
}

/** `"parameters": {…}` of the request itself, with `at` inside; empty where there is none. */
function parametersAround(body: Buffer, at: number, end: number): string {
  const from = Math.max(0, at - WINDOW_BYTES)
  const text = body.toString('latin1', from, Math.min(end, at + WINDOW_BYTES))
  const start = text.lastIndexOf('"parameters"', at - from)
  const close = start < 0 ? -1 : objectEnd(text, start)
  if (close < 0) return ''
  const isOutermost = from === 0 ? depthAfter(text.slice(0, start)) === 1 : depthAfter(text.slice(close)) === -1
  return isOutermost ? Buffer.from(text.slice(start, close), 'latin1').toString('utf8') : ''
}

/** Strings as a whole, and what opens and closes. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[[\]{}]/g

/** Where the first object from here on has ended; −1: not within this text. */
function objectEnd(text: string, start: number): number {
  let depth = 0
  for (const { 0: token, index } of text.slice(start).matchAll(TOKENS)) {
    if (token === '{') depth += 1
    if (token === '}') depth -= 1
    if (token === '}' && depth === 0) return start + index + 1
  }
  return -1
}

/** By how much JSON is deeper inside objects and arrays after this text, which begins and ends outside strings. */
function depthAfter(text: string): number {
  let depth = 0
  for (const [token] of text.matchAll(TOKENS)) {
    if (token === '{' || token === '[') depth += 1
    if (token === '}' || token === ']') depth -= 1
  }
  return depth
}
