import type { Answer } from '../../front/answer.ts'
import type { InferCall } from '../../front/data-plane.ts'
import { note } from '../../front/request-note.ts'
import { hopOf, newTrace, RETURN_TRACE, textOf, traceHeaders } from '../../front/trace-context.ts'

const NOT_DRAWN = { isSampled: false } as const

/** What tracing asks of the access log: whether the next request is to have a line, whatever becomes of it. */
export interface Sampler {
  readonly isSampling: boolean
  draws(): boolean
}

/**
 * Takes part in traces: what a client sends as `traceparent` goes on to the replica with the gateway's own span in it.
 * Where none is sent, none is begun, but for requests that are drawn for the access log or ask for their trace.
 */
export class Tracing {
  readonly #sampler: Sampler

  constructor(sampler: Sampler) {
    this.#sampler = sampler
  }

  /** @returns the call itself where it is in no trace, as nearly always */
  enter(call: InferCall): InferCall {
    const { headers, cancellation } = call
    const parent = textOf(headers['traceparent'])
    const isSampled = this.#sampler.draws()
    if (parent === undefined && !isSampled && headers[RETURN_TRACE] === undefined) {
      if (this.#sampler.isSampling) note(cancellation, NOT_DRAWN) // so that it is not drawn again
      return call
    }
    const trace = parent === undefined ? newTrace() : hopOf(parent, textOf(headers['tracestate']))
    note(cancellation, { trace, isSampled })
    return { ...call, headers: { ...headers, ...traceHeaders(trace) } }
  }

  /** Only for who asks: headers of an answer are bytes that others pay for. */
  leave<A extends Answer>(call: InferCall, answer: A): A {
    if (call.headers[RETURN_TRACE] === undefined) return answer
    const { traceparent } = call.headers
    if (typeof traceparent !== 'string') return answer
    return { ...answer, headers: [...answer.headers, 'traceresponse', traceparent] }
  }
}
