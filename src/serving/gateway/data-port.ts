import type { DataPlane } from '../front/data-plane.ts'
import { ListenError } from '../front/http/errors.ts'
import { httpFrontLimits, openHttpFront } from '../front/http/front.ts'
import type { HttpFront, HttpFrontLimits, OnDone, RequestHead, TlsFiles } from '../front/http/http-front.ts'
import type { CallerOf, ExtraRoute } from '../front/rest/extras.ts'
import { restHandler } from '../front/rest/rest.ts'
import { GatewayListenError, GatewayPortTakenError } from './errors.ts'
import { acceptLabels, FEEDBACK_LIMIT_BYTES } from './feedback.ts'
import type { PredictionLog } from './prediction-log.ts'
import type { Tell } from '../front/tell.ts'

export type DataPortLimits = HttpFrontLimits

export const dataPortLimits: DataPortLimits = httpFrontLimits

export interface DataPortParts {
  plane: DataPlane
  log: PredictionLog
  calendarMs: () => number
  tell: Tell
  limits: DataPortLimits
  callerOf?: CallerOf
  /** Who sends labels, or why that one may not. Absent: anybody may. */
  labelerOf?: (head: RequestHead) => ReturnType<CallerOf>
  /** What else is answered here. */
  routes?: readonly ExtraRoute[]
  /** Told of every request once its answer has left. */
  onDone?: OnDone
}

export interface ListenWhere {
  host: string
  /** 0: any free one. */
  port: number
  /** Several processes on one port. */
  shared?: boolean
  tls?: TlsFiles
}

/** The port that clients call: the REST protocols over HTTP/1.1, health, and labels. */
export class DataPort {
  readonly #front: HttpFront
  #port = 0

  constructor(parts: DataPortParts) {
    const { plane, callerOf, routes = [], limits, tell, onDone } = parts
    const handler = restHandler(plane, {
      routes: [feedbackRoute(parts), ...routes],
      callerOf,
      isDraining: () => this.#front.isDraining,
      limits: { unpackedBytes: limits.bodiesBytes },
      ...(onDone === undefined ? {} : { onDone }),
    })
    this.#front = openHttpFront(handler, limits, tell)
  }

  /**
   * @returns the port, which is another than asked for where that was 0
   * @throws GatewayPortTakenError, GatewayListenError; TlsFilesError, SharedPortError where those are asked for
   */
  async listen({ host, port, ...how }: ListenWhere): Promise<number> {
    try {
      this.#port = await this.#front.listen({ kind: 'port', host, port, ...how })
    } catch (error) {
      throw error instanceof ListenError ? listenError(host, port, error.cause as NodeJS.ErrnoException) : error
    }
    return this.#port
  }

  get connections(): number {
    return this.#front.connections
  }

  get underWay(): number {
    return this.#front.underWay
  }

  /** 0 while it isn't open. */
  get port(): number {
    return this.#port
  }

  /**
   * Not ready from now on, no new connections; those that are open are told to close with their next answer, or closed
   * when they stay idle for `idleMs`; what is under way is finished, for `limitMs` at most.
   */
  async drain(idleMs: number, limitMs: number): Promise<void> {
    await this.#front.drain({ idleMs, limitMs })
  }
}

function feedbackRoute({ log, calendarMs, labelerOf }: DataPortParts): ExtraRoute {
  return {
    path: '/feedback',
    method: 'POST',
    bodyLimitBytes: FEEDBACK_LIMIT_BYTES,
    refusal: (head) => {
      const labeler = labelerOf?.(head)
      return labeler?.kind === 'answer' ? labeler.answer : null
    },
    serve: (body) => acceptLabels(log, body, calendarMs()),
  }
}

function listenError(host: string, port: number, error: NodeJS.ErrnoException): Error {
  if (error.code === 'EADDRINUSE') return new GatewayPortTakenError(host, port, error)
  return new GatewayListenError(`${host}:${port}`, error)
}
