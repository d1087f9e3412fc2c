/** What a request line asks for, of any of the protocols. `version` null: whatever speaks for the model. */
export type Target = ProbeTarget | CallTarget

/** Answered at once, by the head of the request alone. */
export type ProbeTarget =
  // Open Inference Protocol v2
  | { kind: 'live' | 'ready' }
  | { kind: 'model-ready'; name: string; version: string | null }
  // KServe v1
  | { kind: 'v1-alive' }
  | { kind: 'v1-model'; name: string }
  /** MLflow's scoring server. `name` null: at the root, where there is one model. */
  | { kind: 'mlflow-ping'; name: string | null }
  | { kind: 'unknown'; path: string }
  | { kind: 'malformed'; why: string }

export type CallTarget =
  // Open Inference Protocol v2 with Triton's extensions
  | { kind: 'server' | 'index' }
  | { kind: 'model' | 'config' | 'infer'; name: string; version: string | null }
  /** `name` null: of all models. */
  | { kind: 'statistics'; name: string | null; version: string | null }
  | { kind: 'load' | 'unload'; name: string }
  // KServe v1
  | { kind: 'v1-models' }
  | { kind: 'v1-predict'; name: string }
  // MLflow
  | { kind: 'mlflow-version' | 'mlflow-invocations'; name: string | null }

const FIXED: ReadonlyMap<string, Target> = new Map<string, Target>([
  ['/v2', { kind: 'server' }],
  ['/v2/health/live', { kind: 'live' }],
  ['/v2/health/ready', { kind: 'ready' }],
  ['/livez', { kind: 'live' }],
  ['/readyz', { kind: 'ready' }],
  ['/v2/models/stats', { kind: 'statistics', name: null, version: null }],
  ['/v2/repository/index', { kind: 'index' }],
  ['/', { kind: 'v1-alive' }],
  ['/v1/models', { kind: 'v1-models' }],
  ['/ping', { kind: 'mlflow-ping', name: null }],
  ['/health', { kind: 'mlflow-ping', name: null }],
  ['/version', { kind: 'mlflow-version', name: null }],
  ['/invocations', { kind: 'mlflow-invocations', name: null }],
])

const NAME_LIMIT = 1_024
const BAD_NAME: Target = {
  kind: 'malformed',
  why: 'the model or version in the path is empty, too long or wrongly percent-encoded',
}

/**
 * Query strings are tolerated and ignored, as clients add some, and so is one slash at the end.
 * @param url - as in the request line, percent-encoded
 * @see open-inference-protocol, inference_rest.md, "HTTP/REST"; Triton's extension_model_configuration.md,
 *   extension_statistics.md and extension_model_repository.md; KServe's data plane v1; MLflow's pyfunc scoring server
 */
export function parseTarget(url: string): Target {
  const path = pathOf(url)
  return FIXED.get(path) ?? namedTarget(path) ?? { kind: 'unknown', path }
}

/** Without its query, and without a slash at the end. */
export function pathOf(url: string): string {
  const target = url.startsWith('/') ? url : originForm(url)
  const query = target.indexOf('?')
  const path = query < 0 ? target : target.slice(0, query)
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
}

/** A client that takes this server for a proxy names the whole address. @see RFC 9112, 3.2.2 */
function originForm(url: string): string {
  const origin = /^https?:\/\/[^/?]*/i.exec(url)?.[0]
  if (origin === undefined) return url
  const rest = url.slice(origin.length)
  return rest.startsWith('/') ? rest : `/${rest}`
}

const NAMED: readonly [prefix: string, target: (rest: string) => Target | null][] = [
  ['/v2/models/', modelTarget],
  ['/v2/repository/models/', repositoryTarget],
  ['/v1/models/', v1Target],
  ['/endpoints/', mlflowTarget],
]

function namedTarget(path: string): Target | null {
  for (const [prefix, target] of NAMED) if (path.startsWith(prefix)) return target(path.slice(prefix.length))
  return null
}

/** `M[/versions/V][/infer|ready|config|stats]` */
function modelTarget(rest: string): Target | null {
  const parts = rest.split('/')
  const isVersioned = parts[1] === 'versions'
  const [action, ...more] = parts.slice(isVersioned ? 3 : 1)
  const kind = ACTIONS.get(action)
  if (kind === undefined || more.length > 0 || (isVersioned && parts.length < 3)) return null
  const name = decode(parts[0])
  const version = isVersioned ? decode(parts[2]) : null
  return name === undefined || version === undefined ? BAD_NAME : { kind, name, version }
}

const ACTIONS: ReadonlyMap<string | undefined, 'infer' | 'model' | 'model-ready' | 'config' | 'statistics'> = new Map([
  [undefined, 'model'],
  ['infer', 'infer'],
  ['ready', 'model-ready'],
  ['config', 'config'],
  ['stats', 'statistics'],
])

/** `M/load`, `M/unload` */
function repositoryTarget(rest: string): Target | null {
  const [encoded, action, ...more] = rest.split('/')
  if ((action !== 'load' && action !== 'unload') || more.length > 0) return null
  const name = decode(encoded)
  return name === undefined ? BAD_NAME : { kind: action, name }
}

/** `M`, `M:predict`. Any other verb is none of this server's, and a colon in a name comes percent-encoded. */
function v1Target(rest: string): Target | null {
  const [encoded, verb, ...more] = rest.split(':')
  if (rest.includes('/') || more.length > 0 || (verb !== undefined && verb !== 'predict')) return null
  const name = decode(encoded)
  return name === undefined ? BAD_NAME : { kind: verb === undefined ? 'v1-model' : 'v1-predict', name }
}

/** `NAME/ping|health|version|invocations` */
function mlflowTarget(rest: string): Target | null {
  const [encoded, action, ...more] = rest.split('/')
  const kind = MLFLOW_ACTIONS.get(action)
  if (kind === undefined || more.length > 0) return null
  const name = decode(encoded)
  return name === undefined ? BAD_NAME : { kind, name }
}

const MLFLOW_ACTIONS: ReadonlyMap<string | undefined, 'mlflow-ping' | 'mlflow-version' | 'mlflow-invocations'> =
  new Map([
    ['ping', 'mlflow-ping'],
    ['health', 'mlflow-ping'],
    ['version', 'mlflow-version'],
    ['invocations', 'mlflow-invocations'],
  ])

/** undefined where it isn't a name. */
function decode(text: string | undefined): string | undefined {
  if (text === undefined || text === '' || text.length > NAME_LIMIT) return undefined
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined // the caller answers 400
  }
}

const PROBES: ReadonlySet<Target['kind']> = new Set<ProbeTarget['kind']>([
  'live',
  'ready',
  'model-ready',
  'v1-alive',
  'v1-model',
  'mlflow-ping',
  'unknown',
  'malformed',
])

export function isProbe(target: Target): target is ProbeTarget {
  return PROBES.has(target.kind)
}

/** What says nothing of any model: whoever watches over processes needs no key. */
export function isForAnybody({ kind }: Target): boolean {
  return kind === 'live' || kind === 'ready' || kind === 'v1-alive' || kind === 'unknown' || kind === 'malformed'
}

export type Method = 'GET' | 'POST'

/** The method that a target takes, null where there is none to take one. */
export function methodOf({ kind }: Target): Method | null {
  if (kind === 'unknown' || kind === 'malformed') return null
  return POSTED.has(kind) ? 'POST' : 'GET'
}

const POSTED: ReadonlySet<Target['kind']> = new Set<CallTarget['kind']>([
  'infer',
  'index',
  'load',
  'unload',
  'v1-predict',
  'mlflow-invocations',
])
