import { ProtocolError } from '../../kernel/protocol/inference.ts'

/** What a request line asks for. */
export type Route =
  | { kind: 'live' }
  | { kind: 'ready' }
  | { kind: 'server' }
  | { kind: 'identity' }
  | { kind: 'model'; model: string; version: string | null }
  | { kind: 'modelReady'; model: string; version: string | null }
  | { kind: 'infer'; model: string; version: string | null }

const FIXED: Record<string, Route> = {
  '/livez': { kind: 'live' },
  '/v2/health/live': { kind: 'live' },
  '/readyz': { kind: 'ready' },
  '/v2/health/ready': { kind: 'ready' },
  '/v2': { kind: 'server' },
}

/** `/v2/models/M[/versions/V][/ready|/infer]`; names may be percent-encoded, and hold anything but a slash. */
const MODEL_PATH = /^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?(?:\/(ready|infer))?$/

/**
 * @param url - as in the request line; a query string is tolerated, and so is one slash at the end
 * @param isPrivate - came in by the unix socket
 * @throws ProtocolError 400 broken encoding, 404 no such path, 405 wrong method
 */
export function routeOf(method: string, url: string, isPrivate: boolean): Route {
  const query = url.indexOf('?')
  const full = query === -1 ? url : url.slice(0, query)
  const path = full.length > 1 && full.endsWith('/') ? full.slice(0, -1) : full
  const route = Object.hasOwn(FIXED, path)
    ? FIXED[path]!
    : path === '/identity' && isPrivate
      ? { kind: 'identity' as const }
      : modelRoute(path)
  if (route === null) throw new ProtocolError(404, `Not found: ${path}`)
  const allowed = route.kind === 'infer' ? method === 'POST' : method === 'GET' || method === 'HEAD'
  if (!allowed) throw new ProtocolError(405, `Method ${method} is not allowed for ${path}`)
  return route
}

function modelRoute(path: string): Route | null {
  const match = MODEL_PATH.exec(path)
  if (match === null) return null
  const kind = match[3] === 'infer' ? 'infer' : match[3] === 'ready' ? 'modelReady' : 'model'
  return { kind, model: decoded(match[1]!), version: match[2] === undefined ? null : decoded(match[2]) }
}

function decoded(text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw new ProtocolError(400, `'${text}' is not valid percent-encoding`, cause)
  }
}
