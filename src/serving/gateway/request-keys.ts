import type { RouteKey } from '../../kernel/contract/routing.ts'
import type { InferCall } from '../front/data-plane.ts'
import { requestParameter } from './request-parameter.ts'

type Read = Pick<InferCall, 'headers' | 'body' | 'jsonBytes'>

/**
 * What in a request decides its route, as text; null where the request has it not. JSON is looked into only where an
 * endpoint asks for one of its parameters, and within the limits of `requestParameter`: a request whose parameter lies
 * beyond them counts as one without. Whether it is a good request is for the model server to say.
 */
export function keyOf(call: Read, key: RouteKey): string | null {
  const value = 'header' in key ? headerOf(call.headers[key.header]) : requestParameter(call, key.parameter)
  if (typeof value === 'string') return value === '' ? null : value
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null
}

function headerOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value
}
