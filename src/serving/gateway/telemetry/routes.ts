import { parseTarget, pathOf } from '../../front/rest/target.ts'
import type { Target } from '../../front/rest/target.ts'

/** With the names taken out, so that there are as many as there are kinds of calls. */
const TEMPLATES: Partial<Record<Target['kind'], string>> = {
  model: '/v2/models/{model}',
  infer: '/v2/models/{model}/infer',
  'model-ready': '/v2/models/{model}/ready',
  config: '/v2/models/{model}/config',
  statistics: '/v2/models/{model}/stats',
  load: '/v2/repository/models/{model}/load',
  unload: '/v2/repository/models/{model}/unload',
  'v1-model': '/v1/models/{model}',
  'v1-predict': '/v1/models/{model}:predict',
  'mlflow-ping': '/endpoints/{model}/ping',
  'mlflow-version': '/endpoints/{model}/version',
  'mlflow-invocations': '/endpoints/{model}/invocations',
}

/** What a gateway answers beside the protocols; over gRPC the method stands for the path. */
const OWN: ReadonlySet<string> = new Set(['/feedback', '/metrics', '/inference.GRPCInferenceService/ModelInfer'])

/**
 * The route of a request, as `http_route` names it: of any number of models one.
 * @param target - as in the request line
 * @returns empty where there is nothing of this kind: whatever a stranger asks for must not become a time series
 */
export function routeOf(target: string): string {
  if (target === '') return ''
  const parsed = parseTarget(target)
  if (parsed.kind === 'malformed') return ''
  if (parsed.kind === 'unknown') return OWN.has(parsed.path) ? parsed.path : ''
  const isNamed = 'name' in parsed && parsed.name !== null
  if (!isNamed) return pathOf(target)
  const template = TEMPLATES[parsed.kind] ?? ''
  const isVersioned = 'version' in parsed && parsed.version !== null
  return isVersioned ? template.replace('{model}', '{model}/versions/{version}') : template
}
