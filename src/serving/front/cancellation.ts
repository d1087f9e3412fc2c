import type { RequestNote } from './request-note.ts'

/**
 * Why a request is given up before its answer, and who must be told. A lighter AbortSignal: one listener, one reason,
 * no event objects, as it is made for every request.
 */
export type CancelReason = 'deadline' | 'client-gone' | 'shutdown'

export class Cancellation {
  reason: CancelReason | null = null
  /** What is to be told of the request in the end; null, as nearly always: nothing beside its answer. */
  note: Readonly<RequestNote> | null = null
  #listener: (() => void) | null = null

  cancel(reason: CancelReason): void {
    if (this.reason !== null) return
    this.reason = reason
    this.#listener?.()
  }

  /** Replaces the listener; it is called at once when the request is cancelled already. */
  onCancel(listener: (() => void) | null): void {
    this.#listener = listener
    if (this.reason !== null) listener?.()
  }
}
