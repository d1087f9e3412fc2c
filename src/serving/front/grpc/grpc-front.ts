import { promisify } from 'node:util'
import { fromJSON } from '@grpc/proto-loader'
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js'
import type { ServiceDefinition } from '@grpc/grpc-js'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DataPlane } from '../data-plane.ts'
import { ListenError } from '../http/errors.ts'
import type { OnDone, Tell, TlsFiles } from '../http/http-front.ts'
import type { CallerOf } from '../rest/extras.ts'
import { healthService } from './health.ts'
import { MessageBudget } from './message-budget.ts'
import { protobufSchema } from './schema.ts'
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
  /** Not ready from now on; what is under way is finished, for `limitMs` at most, then cancelled. */
  drain(limits: { limitMs: number }): Promise<{ abandoned: number }>
  close(): Promise<void>
}

export interface GrpcLimits {
  /** Of one message, unpacked. Well over the 4 MiB of gRPC's default, which tensors soon exceed. */
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
  /** A connection without calls is closed after so long. */
  idleMs: number
}

export const grpcLimits: GrpcLimits = {
  receiveBytes: 256 * 1024 * 1024,
  heldBytes: 512 * 1024 * 1024,
  receiveMs: 30_000,
  calls: 4_096,
  streams: 1_024,
  perStream: 32,
  idleMs: 300_000,
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
  readonly #underWay: UnderWay
  readonly #tell: Tell
  readonly #atEnd: (() => void)[] = []
  #draining = false

  constructor({ plane, callerOf, limits, tell, onDone }: GrpcFrontParts) {
    const all = { ...grpcLimits, ...limits }
    this.#underWay = new UnderWay(all.calls)
    this.#tell = tell
    this.#server = new Server({
      'grpc.max_receive_message_length': all.receiveBytes,
      'grpc.max_send_message_length': -1,
      'grpc.max_concurrent_streams': all.streams,
      'grpc.max_connection_idle_ms': all.idleMs,
      interceptors: [new MessageBudget(all).interceptor],
    })
    const definitions = fromJSON(protobufSchema, READ_AS)
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
    const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
    const bind = promisify(this.#server.bindAsync.bind(this.#server))
    try {
      return await bind(address, credentials)
    } catch (error) {
      throw new ListenError(address, Object.assign(error as Error, { code: codeIn(error as Error) }))
    }
  }

  #secured(tls: TlsFiles): ServerCredentials {
    const { credentials, stopWatching } = tlsCredentials(tls, this.#tell)
    this.#atEnd.push(stopWatching)
    return credentials
  }

  get underWay(): number {
    return this.#underWay.count
  }

  async drain({ limitMs }: { limitMs: number }): Promise<{ abandoned: number }> {
    this.#draining = true
    const shutDown = promisify(this.#server.tryShutdown.bind(this.#server))()
    await Promise.race([shutDown, sleep(limitMs, undefined, { ref: false })])
    const abandoned = this.#underWay.count
    this.#underWay.cancelAll()
    if (abandoned > 0) await sleep(GIVE_UP_MS) // for their refusals to leave
    await this.close()
    return { abandoned }
  }

  close(): Promise<void> {
    for (const stop of this.#atEnd.splice(0)) stop()
    this.#server.forceShutdown()
    return Promise.resolve()
  }
}

/** The library tells it in words alone. */
function codeIn({ message }: Error): string {
  return /\bE[A-Z]{4,}\b/.exec(message)?.[0] ?? 'UNKNOWN'
}
