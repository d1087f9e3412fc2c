import type { HttpRequest } from '../http/http-front.ts'

/** One request as its protocol sees it. */
export interface Call {
  request: HttpRequest
  /** Unpacked. */
  body: Buffer
  caller: string
  /** What the caller may hear of; null: everything. */
  endpoints: readonly string[] | null
}
