import { framedUpstreamLimits, framedUpstreams } from './framed.ts'
import type { FramedUpstreamLimits } from './framed.ts'
import { httpUpstreamLimits, httpUpstreams } from './http.ts'
import type { HttpUpstreamLimits } from './http.ts'
import type { OpenUpstream } from './upstream.ts'

export interface UpstreamLimits {
  framed: FramedUpstreamLimits
  http: HttpUpstreamLimits
}

/**
 * How a replica is spoken to is its own word: frames where it has a socket for them, else HTTP, over its port where it
 * is a server of someone else's, over its unix socket where it is one of ours that knows no frames.
 */
export function openUpstreams(
  limits: UpstreamLimits = { framed: framedUpstreamLimits, http: httpUpstreamLimits },
): OpenUpstream {
  const framed = framedUpstreams(limits.framed)
  const http = httpUpstreams(limits.http)
  return (replica) => (replica.framesPath === undefined ? http(replica) : framed(replica))
}
