import type { Signature } from '../../kernel/model/signature.ts'
import type { ModelStatistics, RepositoryEntry } from '../../kernel/protocol/inference.ts'
import type { Answer } from './answer.ts'
import type { Cancellation } from './cancellation.ts'

export type { DurationTotal, ModelStatistics, RepositoryEntry } from '../../kernel/protocol/inference.ts'

/**
 * What the protocols ask of whoever answers predictions. The gateway and the model server each are one; every front
 * (v2 REST, KServe v1, MLflow, gRPC) translates to it and from it, so that none of them knows who is behind.
 *
 *   bytes ─▶ front (HTTP/1.1 or gRPC) ─▶ protocol ─▶ DataPlane.infer ─▶ protocol ─▶ front ─▶ bytes
 *
 * The common form of a request and of an answer is that of the v2 REST protocol with its binary extension: JSON, then
 * the bytes of binary tensors. Compression is the front's business: here everything is unpacked.
 */
export interface DataPlane {
  readonly server: ServerFacts
  /** Whether everything that is to serve does. */
  readiness(): Readiness
  /** The names that clients may call, in a stable order. */
  modelNames(): string[]
  /**
   * @param version - null: the one that speaks for the model
   * @throws ProtocolError 404 unknown model or version, 503 known, and nothing of it can be described
   */
  describe(model: string, version: string | null): ModelFacts
  /**
   * Of one request, unpacked: asked for every one, before its body is read.
   * @throws ProtocolError 404, 503 as `describe`
   */
  bodyLimitBytes(model: string, version: string | null): number
  /** @throws ProtocolError 404 */
  modelReadiness(model: string, version: string | null): Readiness
  /**
   * @returns the answer, errors included; null where the client has left
   * @throws ProtocolError, which the front words as its protocol does
   */
  infer(call: InferCall): Promise<InferAnswer | null>
  /**
   * @param model - null: of all models; `version` null: of all versions
   * @throws ProtocolError 404
   */
  statistics(model: string | null, version: string | null): ModelStatistics[]
  readonly repository: ModelRepository
}

export interface ServerFacts {
  name: string
  version: string
}

export type Readiness = { ready: true } | { ready: false; why: string }

export interface ModelFacts {
  name: string
  /** The version that `signature` is of. */
  version: string
  versions: string[]
  platform: string
  signature: Signature
  /** Rows that are computed together at most; 0: requests are never stacked. */
  maxBatchRows: number
  /** As `bodyLimitBytes` above. */
  bodyLimitBytes: number
}

export interface InferCall {
  /** As the client wrote it: an endpoint's or a model's name. */
  name: string
  version: string | null
  /** Names in lower case, a repeated one joined by `, `. */
  headers: Readonly<Record<string, string | string[] | undefined>>
  /** Whole and unpacked. */
  body: Buffer
  /** Length of the JSON at the head of `body`, binary tensors behind it; 0: a raw request; null: it is all JSON. */
  jsonBytes: number | null
  caller: string
  cancellation: Cancellation
  /**
   * How long the client still waits, in ms, where its protocol says so beside the request (the deadline of a gRPC call).
   * The header `x-request-timeout-ms` and the request's own parameter `timeout` are read by whoever answers; the
   * shortest counts. Null or absent: nothing was said.
   */
  timeoutMs?: number | null
}

export interface InferAnswer extends Answer {
  /** As in InferCall; null also for errors. */
  jsonBytes: number | null
}

/** The model repository extension. */
export interface ModelRepository {
  index(onlyReady: boolean): RepositoryEntry[]
  /** @throws ProtocolError 400 where what is loaded is not for clients to decide, as on a gateway; 404 unknown */
  load(model: string): Promise<void>
  unload(model: string): Promise<void>
}
