import type { AnswerStream } from '../../front/answer.ts'

/** Server-sent events, as they go over the wire. @see WHATWG HTML, "9.2 Server-sent events" */
export function eventOf(name: string, json: string): Buffer {
  // JSON has no line breaks outside of strings when it was made without indentation, and within them they are escaped.
  return Buffer.from(`event: ${name}\ndata: ${json}\n\n`)
}

/** Whether a client asks for events rather than one answer. */
export function wantsEvents(accept: string | string[] | undefined): boolean {
  const text = Array.isArray(accept) ? accept.join(',') : (accept ?? '')
  return text !== '' && /(?:^|,)\s*text\/event-stream\s*(?:;|,|$)/i.test(text)
}

const OVER: IteratorResult<Buffer> = { done: true, value: undefined }

/**
 * Events that come one by one for whoever reads them; those that were not read yet are kept, and told of as held until
 * the reader asks for the next. A reader that stops early is told of, too.
 * `besideBytes` are held for them as long as more may come: the request.
 */
export class EventQueue implements AnswerStream, AsyncIterator<Buffer> {
  readonly #events: Buffer[] = []
  readonly #onLeft: () => void
  #told: (heldBytes: number) => void = () => undefined
  #heldBytes: number
  #besideBytes: number
  /** Of the event that the reader has now. */
  #readBytes = 0
  #wake: (() => void) | null = null
  #ended = false

  constructor(onLeft: () => void, besideBytes = 0) {
    this.#onLeft = onLeft
    this.#heldBytes = besideBytes
    this.#besideBytes = besideBytes
  }

  push(event: Buffer): void {
    if (this.#ended) return
    this.#events.push(event)
    this.#hold(event.length)
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#hold(-this.#besideBytes)
    this.#besideBytes = 0
    this.#wake?.()
  }

  onHeld(told: (heldBytes: number) => void): void {
    this.#told = told
    told(this.#heldBytes)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Buffer>> {
    this.#hold(-this.#readBytes)
    this.#readBytes = 0
    while (this.#events.length === 0 && !this.#ended) await this.#news()
    const event = this.#events.shift()
    if (event === undefined) return OVER
    this.#readBytes = event.length
    return { done: false, value: event }
  }

  return(): Promise<IteratorResult<Buffer>> {
    const isEarly = !this.#ended
    this.end()
    this.#events.length = 0
    this.#readBytes = 0
    this.#hold(-this.#heldBytes)
    if (isEarly) this.#onLeft()
    return Promise.resolve(OVER)
  }

  async #news(): Promise<void> {
    await new Promise<void>((resolve) => (this.#wake = resolve))
    this.#wake = null
  }

  #hold(bytes: number): void {
    if (bytes === 0) return
    this.#heldBytes += bytes
    this.#told(this.#heldBytes)
  }
}
