import type { FedBody } from '../../../kernel/contract/fed.ts'
import type { RoutedReplica } from '../../../kernel/contract/routing.ts'
import type { Signature } from '../../../kernel/model/signature.ts'

/**
 * How the gateway speaks to one replica. The pool above decides which replica is asked, how often and how long;
 * an upstream only carries one request to one socket and brings the answer back, or says how that failed.
 * `upstream/http.ts` is the one that any v2 server understands.
 */
export interface Upstream {
  /** Starts one exchange. Never queues: the pool keeps to its limit of exchanges at once. */
  call(request: UpstreamRequest): UpstreamCall
  /** True when the replica says by itself that it is ready, asked over a connection of its own. Never throws. */
  probe(timeoutMs: number): Promise<boolean>
  /** Closes what is idle; exchanges under way end by themselves, after them their connections. */
  retire(): void
  /** Closes everything at once; exchanges under way fail as `aborted`. */
  close(): void
}

export type OpenUpstream = (replica: RoutedReplica) => Upstream

export interface UpstreamRequest {
  /** As the replica names them. */
  model: string
  version: string
  body: Buffer
  /** Length of the JSON at the head of `body`; null: it is all JSON; 0: a raw request. */
  jsonBytes: number | null
  /** What else means something to the model server: names in lower case and values in turn. */
  headers: readonly string[]
  /** Where less is bearable than usual: a larger answer is refused as `garbled`. */
  answerLimitBytes?: number
  /** The replica is a server of someone else's: its 200 is checked, and gets these names instead of its own. */
  answerAs?: AnswerAs
  /** How long the caller still waits, in whole ms from 1; the replica may drop what is older. Absent: no limit. */
  timeoutMs?: number
}

export interface AnswerAs {
  model: string
  version: string
  /** What it has to answer with. */
  signature: Signature
}

export interface UpstreamAnswer {
  status: number
  /** Names in lower case; of a repeated one the last counts. */
  headers: ReadonlyMap<string, string>
  body: Buffer
  /** As in UpstreamRequest. */
  jsonBytes: number | null
  /** What the model was fed, where that is more than the request. */
  fed?: FedBody
}

export interface UpstreamCall {
  /** @throws UpstreamError */
  readonly answer: Promise<UpstreamAnswer>
  /** Gives up: the answer, if it comes, is thrown away. Harmless when the exchange is over. */
  abort(): void
}
