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

/**
 * Events that come one by one for whoever reads them; those that nobody has read yet are kept. The reader that stops
 * early is told of.
 */
export class EventQueue {
  readonly #events: Buffer[] = []
  readonly #onLeft: () => void
  #wake: (() => void) | null = null
  #ended = false

  constructor(onLeft: () => void) {
    this.#onLeft = onLeft
  }

  push(event: Buffer): void {
    if (this.#ended) return
    this.#events.push(event)
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  async *read(): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const event = this.#events.shift()
        if (event !== undefined) yield event
        else if (this.#ended) return
        else await this.#news()
      }
    } finally {
      if (!this.#ended) {
        this.end()
        this.#onLeft()
      }
    }
  }

  async #news(): Promise<void> {
    await new Promise<void>((resolve) => (this.#wake = resolve))
    this.#wake = null
  }
}
