import type { Answer } from '../answer.ts'
import type { HttpRequest, OnDone, Peer, RequestHead } from '../http/http-front.ts'
import type { Method } from './target.ts'

/** What a process answers beside the protocols, and what it knows of its clients. */
export interface RestExtras {
  /** Paths of its own. They come before the protocols'. */
  routes?: readonly ExtraRoute[]
  callerOf?: CallerOf
  /** From then on nothing is ready, so that nobody sends more. */
  isDraining?: () => boolean
  limits?: Partial<RestLimits>
  /** Told of every request once its answer has left. */
  onDone?: OnDone
}

export interface ExtraRoute {
  /** Whole, without a query, as it stands in the request line. */
  path: string
  method: Method
  /** Of the body, unpacked. */
  bodyLimitBytes: number
  /** False: for this client it does not exist. Absent: it does for all. */
  isFor?: (peer: Peer) => boolean
  /** What is refused by its head alone. */
  refusal?: (head: RequestHead) => Answer | null
  /** @param body - unpacked */
  serve(body: Buffer, request: HttpRequest): Answer | null | Promise<Answer | null>
}

/** A caller, by its name in logs and counts. */
export interface KnownCaller {
  kind: 'caller'
  name: string
  /** What it may call, and so hear of; null or absent: everything. */
  endpoints?: readonly string[] | null
}

/**
 * Who calls, or why that one may not. Asked before a byte of the body is read, and again when it is there. Absent:
 * everybody is `anonymous`.
 * @param name - of the model that is asked for; null: none in particular
 */
export type CallerOf = (head: RequestHead, name: string | null) => KnownCaller | { kind: 'answer'; answer: Answer }

export interface RestLimits {
  /** Of a request's body where its model can't say: it is still being loaded, or nothing of it is deployed. */
  bodyLimitBytes: number
  /** Of all unpacked bodies that are here at once. */
  unpackedBytes: number
}

export const restLimits: RestLimits = {
  bodyLimitBytes: 64 * 1024 * 1024,
  unpackedBytes: 512 * 1024 * 1024,
}
