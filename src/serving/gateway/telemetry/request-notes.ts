import type { Cancellation } from '../../front/cancellation.ts'
import type { TraceContext } from '../../front/trace-context.ts'

/** What is known of a request beside its protocol, for its line in the access log. */
export interface RequestNote {
  /** Of the gateway's own hop. */
  trace: TraceContext | null
  /** How often it was sent again. */
  retries: number
  /** It was drawn for the access log before it was answered. */
  isSampled: boolean
}

/**
 * Notes of the few requests of which there is something to note: traced, drawn for the access log, or sent again. They
 * are kept by the request's cancellation, the one thing that is the request's from its front to its replica, and go
 * with it.
 */
export class RequestNotes {
  readonly #notes = new WeakMap<Cancellation, RequestNote>()

  of(request: Cancellation): Readonly<RequestNote> | null {
    return this.#notes.get(request) ?? null
  }

  note(request: Cancellation, facts: Partial<RequestNote>): void {
    const note = this.#notes.get(request)
    if (note === undefined) this.#notes.set(request, { trace: null, retries: 0, isSampled: false, ...facts })
    else Object.assign(note, facts)
  }
}
