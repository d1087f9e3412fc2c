/**
 * Why a request is given up before its answer, and who must be told. A lighter AbortSignal: one listener, one reason,
 * no event objects, as it is made for every request.
 */
export type CancelReason = 'deadline' | 'client-gone' | 'shutdown'

export class Cancellation {
  reason: CancelReason | null = null
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
