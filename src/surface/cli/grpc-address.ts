import type { EndpointView } from '../api/endpoint-schemas.ts'

/** `127.0.0.1:8701`, one for all endpoints; null: the gateway speaks no gRPC. */
export function grpcAddress(endpoints: Pick<EndpointView, 'url' | 'grpcPort'>[]): string | null {
  const found = endpoints.find(({ url, grpcPort }) => url !== null && grpcPort !== null)
  return found === undefined ? null : `${new URL(found.url!).hostname}:${found.grpcPort}`
}
