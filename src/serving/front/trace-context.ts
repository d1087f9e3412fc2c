import { randomFillSync } from 'node:crypto'

/**
 * W3C Trace Context: who a request belongs to, across everything that it passes through. Each hop gives its own span id
 * to the next; the trace's id and whether it is sampled stay as they came.
 *
 *   traceparent = version "-" trace-id "-" parent-id "-" trace-flags           00-<32 hex>-<16 hex>-<2 hex>
 *
 * @see W3C Trace Context, level 1, sections 3 and 4
 */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  traceId: string
  /** 16 hexadecimal digits: of whoever holds this context. */
  spanId: string
  /** Two hexadecimal digits; the lowest bit says that the trace is sampled. */
  flags: string
  /** As it came; null: there was none, or it means nothing any more. */
  state: string | null
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)
const SAMPLED = '01'
const NOT_SAMPLED = '00'
/** A longer one is dropped, as every hop carries it. */
const STATE_MAX = 512

/** @returns null where it can't be read: whoever gets it begins a trace of its own */
export function parseTraceparent(header: string): Pick<TraceContext, 'traceId' | 'spanId' | 'flags'> | null {
  const parts = TRACEPARENT.exec(header.trim())
  if (parts === null) return null
  const [, version = '', traceId = '', spanId = '', flags = '', more] = parts
  // Later versions may say more behind what this one knows.
  if (version === 'ff' || (version === '00' && more !== undefined)) return null
  if (traceId === NO_TRACE || spanId === NO_SPAN) return null
  return { traceId, spanId, flags: isSampled(flags) ? SAMPLED : NOT_SAMPLED }
}

/**
 * The context of this hop, for a request that came with these headers. What can't be read begins a new trace, and its
 * state is forgotten with it.
 */
export function hopOf(traceparent: string, tracestate: string | undefined): TraceContext {
  const parent = parseTraceparent(traceparent)
  if (parent === null) return newTrace()
  const state = tracestate === undefined || tracestate.length > STATE_MAX ? null : tracestate.trim()
  return { ...parent, spanId: randomHex(8), state: state === '' ? null : state }
}

export function newTrace(): TraceContext {
  return { traceId: randomHex(16), spanId: randomHex(8), flags: NOT_SAMPLED, state: null }
}

/** As a header, for the next hop or for an answer. */
export function traceText({ traceId, spanId, flags }: TraceContext): string {
  return `00-${traceId}-${spanId}-${flags}`
}

function isSampled(flags: string): boolean {
  return (Number.parseInt(flags, 16) & 1) === 1
}

/** All zeros would be no id; that happens once in 2^64. */
function randomHex(bytes: number): string {
  if (taken + bytes > random.length) {
    randomFillSync(random)
    taken = 0
  }
  taken += bytes
  return random.toString('hex', taken - bytes, taken)
}

/** Drawn for many ids at once, which costs a tenth. */
const random = Buffer.alloc(4_096)
let taken = random.length

/** A client that sends it, with whatever value, gets the context of who answers back as `traceresponse`. */
export const RETURN_TRACE = 'millrace-return-trace'

/** Of both headers, for the next hop; undefined: it is not to get one. */
export function traceHeaders(trace: TraceContext): { traceparent: string; tracestate: string | undefined } {
  return { traceparent: traceText(trace), tracestate: trace.state ?? undefined }
}

/** A header that comes once. */
export function textOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}
