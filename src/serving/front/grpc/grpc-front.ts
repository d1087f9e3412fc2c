import { promisify } from 'node:util'
import { fromJSON } from '@grpc/proto-loader'
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js'
import type { ServiceDefinition } from '@grpc/grpc-js'
import { setTimeout as sleep } from 'node:timers/promises'
import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { DataPlane } from '../data-plane.ts'
import type { OnDone, TlsFiles } from '../http/http-front.ts'
import type { CallerOf } from '../rest/extras.ts'
import type { Tell } from '../tell.ts'
import { Connections } from './connections.ts'
import { healthService } from './health.ts'
import { MessageBudget, OUTLINE_BYTES_MAX } from './message-budget.ts'
import { serverSchema } from './schema.ts'
import { inferenceService, UnderWay } from './service.ts'
import { tlsCredentials } from './tls-credentials.ts'

/** The inference protocol over gRPC, on a port of its own: for whoever answers, the same as over HTTP. */
export interface GrpcFront {
  /**
   * @returns the port, chosen by the system for 0
   * @throws ListenError, TlsFilesError
   */
  listen(where: { host: string; port: number; tls?: TlsFiles }): Promise<number>
  /** Calls that are being answered. */
  readonly underWay: number
  readonly connections: number
  /** Not ready from now on; what is under way is finished, for `limitMs` at most, then cancelled. */
  drain(limits: { limitMs: number }): Promise<{ abandoned: number }>
  close(): Promise<void>
}

export interface GrpcLimits {
  /** Of one message, unpacked, whatever the models here take: that is the limit as a rule. */
  receiveBytes: number
  /** Of all messages that are here at once; more are refused with UNAVAILABLE. */
  heldBytes: number
  /** From the first byte of a message to its last. */
  receiveMs: number
  /** Calls answered at once, over all connections; more are refused with UNAVAILABLE. */
  calls: number
  /** Calls at once on one connection. */
  streams: number
  /** Requests of one stream that are worked on at once. */
  perStream: number
  /** Open at once; more are refused. */
  connections: number
  /** A connection on which nothing has come by then is closed, as is one whose handshake of TLS is not over. */
  silentMs: number
  /** A connection without calls is closed after so long. */
  idleMs: number
  /** A client that nothing has come from for so long is asked whether it is there, and has as long as that to say so. */
  keepaliveMs: number
  keepaliveTimeoutMs: number
}

export const grpcLimits: GrpcLimits = {
  receiveBytes: 512 * 1024 * 1024,
  heldBytes: 512 * 1024 * 1024,
  receiveMs: 30_000,
  calls: 4_096,
  streams: 1_024,
  perStream: 32,
  connections: 8_192,
  silentMs: 10_000,
  idleMs: 300_000,
  keepaliveMs: 60_000,
  keepaliveTimeoutMs: 20_000,
}

export interface GrpcFrontParts {
  plane: DataPlane
  callerOf?: CallerOf
  limits?: Partial<GrpcLimits>
  tell: Tell
  /** Told of every inference once it is answered. */
  onDone?: OnDone
}

setLogVerbosity(logVerbosity.NONE) // what it would print to stderr is thrown as well

/** How 64-bit integers, bytes and what was left out come out of a message. */
const READ_AS = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true } as const

const GIVE_UP_MS = 100

export function openGrpcFront(parts: GrpcFrontParts): GrpcFront {
  return new Front(parts)
}

class Front implements GrpcFront {
  readonly #server: Server
  readonly #limits: GrpcLimits
  #connections: Connections | null = null
  readonly #underWay: UnderWay
  readonly #tell: Tell
  readonly #atEnd: (() => void)[] = []
  #draining = false

  constructor({ plane, callerOf, limits, tell, onDone }: GrpcFrontParts) {
    const all = { ...grpcLimits, ...limits }
    this.#limits = all
    this.#underWay = new UnderWay(all.calls)
    this.#tell = tell
    this.#server = new Server({
      'grpc.max_receive_message_length': all.receiveBytes,
      'grpc.max_send_message_length': -1,
      'grpc.max_concurrent_streams': all.streams,
      'grpc.max_connection_idle_ms': all.idleMs,
      'grpc.keepalive_time_ms': all.keepaliveMs,
      'grpc.keepalive_timeout_ms': all.keepaliveTimeoutMs,
      interceptors: [new MessageBudget({ ...all, messageBytes: () => messageLimit(plane) }).interceptor],
    })
    const definitions = fromJSON(serverSchema, READ_AS)
    const isDraining = (): boolean => this.#draining
    const { perStream } = all
    this.#server.addService(
      definitions['inference.GRPCInferenceService'] as ServiceDefinition,
      inferenceService({ plane, callerOf, isDraining, underWay: this.#underWay, perStream, tell, onDone }),
    )
    this.#server.addService(definitions['grpc.health.v1.Health'] as ServiceDefinition, healthService(plane, isDraining))
  }

  async listen({ host, port, tls }: { host: string; port: number; tls?: TlsFiles }): Promise<number> {
    const credentials = tls === undefined ? ServerCredentials.createInsecure() : this.#secured(tls)
    const isSecure = tls !== undefined
    this.#connections = new Connections(this.#server, credentials, isSecure, this.#limits, this.#tell)
    return this.#connections.listen(host, port)
  }

  #secured(tls: TlsFiles): ServerCredentials {
    const { credentials, stopWatching } = tlsCredentials(tls, this.#limits.silentMs, this.#tell)
    this.#atEnd.push(stopWatching)
    return credentials
  }

  get underWay(): number {
    return this.#underWay.count
  }

  get connections(): number {
    return this.#connections?.count ?? 0
  }

  async drain({ limitMs }: { limitMs: number }): Promise<{ abandoned: number }> {
    this.#draining = true
    const shutDown = promisify(this.#server.tryShutdown.bind(this.#server))()
    // The library waits for connections of its own listeners alone.
    const ended = Promise.all([shutDown, this.#connections?.stop()])
    await Promise.race([ended, sleep(limitMs, undefined, { ref: false })])
    const abandoned = this.#underWay.count
    this.#underWay.cancelAll()
    if (abandoned > 0) await sleep(GIVE_UP_MS) // for their refusals to leave
    await this.close()
    return { abandoned }
  }

  close(): Promise<void> {
    for (const stop of this.#atEnd.splice(0)) stop()
    this.#server.forceShutdown()
    this.#connections?.destroy()
    return Promise.resolve()
  }
}

/** Where nothing of a model can say what it takes. */
const UNKNOWN_BODY_BYTES = 64 * 1024 * 1024

/** What the model that takes most takes: whose a message is shows when it is read, and then its own limit counts. */
function messageLimit(plane: DataPlane): number {
  let most = 0
  for (const name of plane.modelNames()) most = Math.max(most, bodyLimitOf(plane, name))
  return most + OUTLINE_BYTES_MAX
}

function bodyLimitOf(plane: DataPlane, name: string): number {
  try {
    return plane.bodyLimitBytes(name, null)
  } catch (error) {
    if (error instanceof ProtocolError) return UNKNOWN_BODY_BYTES
    throw error
  }
}
