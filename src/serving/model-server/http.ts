import type { Identity } from '../../kernel/runtime/process-record.ts'
import { jsonAnswer } from '../front/answer.ts'
import { httpFrontLimits, openHttpFront } from '../front/http/front.ts'
import type * as front from '../front/http/http-front.ts'
import type { ExtraRoute } from '../front/rest/extras.ts'
import { restHandler } from '../front/rest/rest.ts'
import type { Tell } from '../front/tell.ts'
import type { ServerPlane } from './server-plane.ts'

/** A model server over HTTP, on a unix socket, a loopback port, or both. */
export interface HttpFront {
  listenOnSocket(path: string): Promise<void>
  /** @returns the port, chosen by the system for 0. @throws ListenError */
  listenOnPort(host: string, port: number): Promise<number>
  /** Requests that are being received, computed or answered. */
  readonly inFlight: number
  readonly connections: number
  /** From now on not ready; returns once all is answered, or at the limit. */
  drain(): Promise<{ abandoned: number }>
  readonly isDraining: boolean
  close(): Promise<void>
}

export interface HttpFrontOptions {
  plane: ServerPlane
  /** Answered at `GET /identity`, on the unix socket alone: on a port any local user could read the token. */
  identity?: Identity | null
  /** What else is answered here. */
  routes?: readonly ExtraRoute[]
  limits?: Partial<HttpLimits>
  tell?: Tell
}

export interface HttpLimits extends front.HttpFrontLimits {
  /** While draining: how long new connections are still taken, since a proxy may not know yet. */
  lingerMs: number
  /** And from then on: an open connection on which nothing comes for so long is closed. */
  quietMs: number
  /** And what isn't answered by then is cut off. */
  drainMs: number
}

export const httpLimits: HttpLimits = {
  ...httpFrontLimits,
  connections: 4_096,
  lingerMs: 250,
  quietMs: 1_000,
  drainMs: 20_000,
}

export function createHttpFront(options: HttpFrontOptions): HttpFront {
  return new Front(options)
}

class Front implements HttpFront {
  readonly #plane: ServerPlane
  readonly #limits: HttpLimits
  readonly #front: front.HttpFront

  constructor({ plane, identity = null, routes = [], limits, tell = () => undefined }: HttpFrontOptions) {
    this.#plane = plane
    this.#limits = { ...httpLimits, ...limits }
    const own = identity === null ? routes : [identityRoute(identity), ...routes]
    const handler = restHandler(plane, { routes: own, limits: { unpackedBytes: this.#limits.bodiesBytes } })
    this.#front = openHttpFront(handler, this.#limits, tell)
  }

  get inFlight(): number {
    return this.#front.underWay
  }

  get connections(): number {
    return this.#front.connections
  }

  get isDraining(): boolean {
    return this.#plane.isDraining
  }

  async listenOnSocket(path: string): Promise<void> {
    await this.#front.listen({ kind: 'socket', path })
  }

  listenOnPort(host: string, port: number): Promise<number> {
    return this.#front.listen({ kind: 'port', host, port })
  }

  drain(): Promise<{ abandoned: number }> {
    const { lingerMs, quietMs, drainMs } = this.#limits
    this.#plane.startDraining()
    return this.#front.drain({ lingerMs, idleMs: quietMs, limitMs: drainMs })
  }

  close(): Promise<void> {
    return this.#front.close()
  }
}

function identityRoute(identity: Identity): ExtraRoute {
  return {
    path: '/identity',
    method: 'GET',
    bodyLimitBytes: 0,
    isFor: ({ isSocket }) => isSocket,
    serve: () => jsonAnswer(200, identity),
  }
}
