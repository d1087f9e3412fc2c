import type { InferCall } from '../front/data-plane.ts'
import { requestParameter } from './request-parameter.ts'

/** How long the client still waits, in ms; so it says itself, and so the gateway tells the replica. */
export const TIMEOUT_HEADER = 'x-request-timeout-ms'

/**
 * What the client gives its request, in ms: the shortest of what its protocol, its header and the request's parameter
 * `timeout` (µs; 0: none) say. A value that is no such number is left to whoever reads the request.
 * @returns null where it says nothing
 */
export function clientTimeoutMs(call: Pick<InferCall, 'headers' | 'body' | 'jsonBytes' | 'timeoutMs'>): number | null {
  const said = [call.timeoutMs, headerMs(call.headers[TIMEOUT_HEADER]), parameterMs(call)]
  let shortest: number | null = null
  for (const ms of said) if (isTime(ms) && (shortest === null || ms < shortest)) shortest = ms
  return shortest
}

function headerMs(value: string | string[] | undefined): number | null {
  return typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : null
}

function parameterMs(call: Pick<InferCall, 'body' | 'jsonBytes'>): number | null {
  const timeout = requestParameter(call, 'timeout')
  return typeof timeout === 'number' ? timeout / 1_000 : null
}

function isTime(ms: number | null | undefined): ms is number {
  return typeof ms === 'number' && Number.isFinite(ms) && ms > 0
}
