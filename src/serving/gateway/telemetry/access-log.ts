import type { Answer } from '../../front/answer.ts'
import type { DoneRequest } from '../../front/http/http-front.ts'
import type { CallerOf } from '../../front/rest/extras.ts'
import { parseTarget, pathOf } from '../../front/rest/target.ts'
import type { AccessLine, AccessLines } from './access-lines.ts'
import { routeOf } from './routes.ts'
import type { Sampler } from './tracing.ts'

export interface AccessLogParts {
  lines: AccessLines
  callerOf: CallerOf
  /** Of the requests, drawn; errors have a line in any case. */
  percent: number
  /** Uniform in [0, 1). */
  random: () => number
  nowMs?: () => number
  limits?: AccessLogLimits
}

export interface AccessLogLimits {
  /** Lines a second for answers of 5xx that were not drawn: an outage must not become a flood on disk. */
  errorsPerSecond: number
}

export const accessLogLimits: AccessLogLimits = { errorsPerSecond: 50 }

const TARGET_MAX = 200

/**
 * A line for each request that was drawn, and for each that the server failed, up to a limit. A request is drawn once:
 * where it goes on to a replica before that, so that its trace may begin there, else when it is done.
 */
export class AccessLog implements Sampler {
  readonly #parts: Required<AccessLogParts>
  #second = 0
  #errors = 0
  #unsaid = 0

  constructor(parts: AccessLogParts) {
    this.#parts = { nowMs: () => performance.now(), limits: accessLogLimits, ...parts }
  }

  /** Whether any request is drawn at all. */
  get isSampling(): boolean {
    return this.#parts.percent > 0
  }

  draws(): boolean {
    const { percent, random } = this.#parts
    return percent >= 100 || (percent > 0 && random() * 100 < percent)
  }

  done(request: DoneRequest, answer: Answer, bytesIn: number, tookMs: number): void {
    const { lines } = this.#parts
    const isError = answer.status >= 500
    if (!this.isSampling && !isError) return
    const { note } = request.cancellation
    const sampled = note?.isSampled ?? this.draws()
    if (!sampled && !(isError && this.#mayTell())) return
    const { caller, target } = { caller: this.#callerOf(request), target: request.target }
    const facts = { caller, traceId: note?.trace?.traceId ?? null, retries: note?.retries ?? 0, sampled }
    lines.write(isError, {
      method: request.method,
      target: pathOf(target).slice(0, TARGET_MAX),
      route: routeOf(target) || null,
      ...factsOf(answer, target),
      status: answer.status,
      bytesIn,
      bytesOut: answer.stream === undefined ? answer.body.length : null,
      latencyMs: Math.round(tookMs * 1_000) / 1_000,
      peer: request.peer.address,
      ...facts,
    })
  }

  /** Those beyond the limit are counted, and said with the next that is within it. */
  #mayTell(): boolean {
    const { nowMs, limits, lines } = this.#parts
    const second = Math.floor(nowMs() / 1_000)
    if (second !== this.#second) {
      if (this.#unsaid > 0) lines.sayDropped(this.#unsaid, `more than ${limits.errorsPerSecond} errors a second`)
      this.#second = second
      this.#errors = 0
      this.#unsaid = 0
    }
    this.#errors += 1
    if (this.#errors <= limits.errorsPerSecond) return true
    this.#unsaid += 1
    lines.countDropped()
    return false
  }

  #callerOf(request: DoneRequest): string | null {
    const caller = this.#parts.callerOf(request, null)
    return caller.kind === 'caller' ? caller.name : null
  }

  async close(): Promise<void> {
    const { lines, limits } = this.#parts
    if (this.#unsaid > 0) lines.sayDropped(this.#unsaid, `more than ${limits.errorsPerSecond} errors a second`)
    this.#unsaid = 0
    await lines.close()
  }
}

const TOLD: ReadonlyMap<string, 'endpoint' | 'version' | 'predictionId'> = new Map([
  ['millrace-endpoint', 'endpoint'],
  ['millrace-model-version', 'version'],
  ['millrace-prediction-id', 'predictionId'],
])

/** The answer's own headers say most of it; a refusal says nothing of the endpoint that was meant. */
function factsOf(answer: Answer, target: string): Pick<AccessLine, 'endpoint' | 'version' | 'predictionId'> {
  const facts: Pick<AccessLine, 'endpoint' | 'version' | 'predictionId'> = {
    endpoint: null,
    version: null,
    predictionId: null,
  }
  for (let i = 0; i < answer.headers.length; i += 2) {
    const fact = TOLD.get((answer.headers[i] as string).toLowerCase())
    if (fact !== undefined) facts[fact] = answer.headers[i + 1] as string
  }
  const asked = parseTarget(target)
  if ('name' in asked) facts.endpoint ??= asked.name
  return facts
}
