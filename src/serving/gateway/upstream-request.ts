import type { IncomingHttpHeaders } from 'node:http'
import type { EndpointRoute, RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { UpstreamRequest } from './upstream/upstream.ts'

/** Headers that mean something to the model server; the others are the connection's or the client's own business. */
const FORWARDED = ['content-type', 'inference-header-content-length', 'traceparent', 'tracestate'] as const

export function upstreamRequest(
  route: EndpointRoute,
  deployment: RoutedDeployment,
  { headers, body }: { headers: IncomingHttpHeaders; body: Buffer },
): UpstreamRequest {
  let headerLines = ''
  for (const name of FORWARDED) {
    const value = headers[name]
    if (typeof value === 'string') headerLines += `${name}: ${value}\r\n`
  }
  const { model, version } = servedAs(route.model, deployment.version)
  const path = `/v2/models/${encodeURIComponent(model)}/versions/${encodeURIComponent(version)}/infer`
  return { method: 'POST', path, headerLines, body }
}

/** What the replica calls itself: a fallback may be of another model, `model@version` then. */
function servedAs(model: string, version: string): { model: string; version: string } {
  const at = version.lastIndexOf('@')
  return at < 0 ? { model, version } : { model: version.slice(0, at), version: version.slice(at + 1) }
}
