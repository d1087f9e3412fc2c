import type { GrpcFront } from '../../front/grpc/grpc-front.ts'
import type { OnDone } from '../../front/http/http-front.ts'
import type { AccessLines } from './access-lines.ts'
import { AccessLog } from './access-log.ts'
import type { AccessLogParts } from './access-log.ts'
import { RequestDurations } from './request-durations.ts'
import { Tracing } from './tracing.ts'

/**
 * What a gateway watches of its requests itself; all else is read from counters that others keep.
 *
 *   request ─▶ tracing (its trace, whether it is drawn) ─▶ … ─▶ answer ─▶ durations, access log
 */
export class Telemetry {
  readonly durations = new RequestDurations()
  readonly tracing: Tracing
  readonly lines: AccessLines
  /** Once it is open. */
  grpc: Pick<GrpcFront, 'underWay'> | null = null
  readonly #access: AccessLog

  constructor(parts: AccessLogParts) {
    this.lines = parts.lines
    this.#access = new AccessLog(parts)
    this.tracing = new Tracing(this.#access)
  }

  readonly onDone: OnDone = (request, answer, bytesIn, tookMs) => {
    this.durations.observe(request.method, request.target, answer.status, tookMs)
    this.#access.done(request, answer, bytesIn, tookMs)
  }

  close(): Promise<void> {
    return this.#access.close()
  }
}
