/** What a request line asks for. `version` null: whatever the endpoint routes to. */
export type Target =
  | { kind: 'infer'; name: string; version: string | null }
  | { kind: 'model' | 'model-ready'; name: string; version: string | null }
  | { kind: 'feedback' }
  | { kind: 'server' | 'live' | 'ready' }
  | { kind: 'unknown'; path: string }
  | { kind: 'malformed'; why: string }

const FIXED: ReadonlyMap<string, Target> = new Map([
  ['/v2', { kind: 'server' }],
  ['/v2/', { kind: 'server' }],
  ['/v2/health/live', { kind: 'live' }],
  ['/v2/health/ready', { kind: 'ready' }],
  ['/livez', { kind: 'live' }],
  ['/readyz', { kind: 'ready' }],
  ['/feedback', { kind: 'feedback' }],
])

const NAME_LIMIT = 1_024

/**
 * The Open Inference Protocol's paths and the gateway's own. Query strings are tolerated and ignored, as clients add some.
 * @param url - as in the request line, percent-encoded
 * @see open-inference-protocol, inference_rest.md, "HTTP/REST"
 */
export function parseTarget(url: string): Target {
  const query = url.indexOf('?')
  const path = query < 0 ? url : url.slice(0, query)
  const fixed = FIXED.get(path)
  if (fixed !== undefined) return fixed
  if (!path.startsWith('/v2/models/')) return { kind: 'unknown', path }
  const parts = path.slice('/v2/models/'.length).split('/')
  const [name = '', second, version, ...rest] = parts
  const target =
    second === 'versions' ? modelTarget(name, version ?? '', rest) : modelTarget(name, null, parts.slice(1))
  return target ?? { kind: 'unknown', path }
}

function modelTarget(name: string, version: string | null, rest: string[]): Target | null {
  const action = actionOf(rest)
  if (action === null || (action === 'model' && version === '')) return null
  const plainName = decode(name)
  const plainVersion = version === null ? null : decode(version)
  if (plainName === undefined || plainVersion === undefined) {
    return { kind: 'malformed', why: 'the model or version in the path is empty, too long or wrongly percent-encoded' }
  }
  return { kind: action, name: plainName, version: plainVersion }
}

function actionOf(rest: string[]): 'infer' | 'model' | 'model-ready' | null {
  if (rest.length === 0) return 'model'
  if (rest.length > 1) return null
  if (rest[0] === 'infer') return 'infer'
  return rest[0] === 'ready' ? 'model-ready' : null
}

/** undefined where it isn't a name. */
function decode(text: string): string | undefined {
  if (text === '' || text.length > NAME_LIMIT) return undefined
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined // the caller answers 400
  }
}

/** The method that a target takes, null where there is none to take one. */
export function methodOf(target: Target): 'GET' | 'POST' | null {
  if (target.kind === 'unknown' || target.kind === 'malformed') return null
  return target.kind === 'infer' || target.kind === 'feedback' ? 'POST' : 'GET'
}
