import type { IncomingMessage } from 'node:http'
import { ProtocolError } from '../../kernel/protocol/inference.ts'

export interface BodyLimits {
  /** Of one request. */
  bodyLimitBytes: number
  /** Of all requests that are here at once, received or waiting for their answer. */
  totalLimitBytes: number
  /** How long what is refused is still read and thrown away, so that its sender gets to see the answer. */
  discardMs: number
}

export const bodyLimits: BodyLimits = {
  bodyLimitBytes: 64 * 1024 * 1024,
  totalLimitBytes: 512 * 1024 * 1024,
  discardMs: 2_000,
}

/** Reads bodies and counts what is held. */
export class BodyReader {
  readonly #limits: BodyLimits
  #heldBytes = 0

  constructor(limits: BodyLimits) {
    this.#limits = limits
  }

  /**
   * The whole body; call `release` with its length once it is answered.
   * @throws ProtocolError 413 too large, 503 too much at once; what was not read has been discarded by then
   * @throws ClientGoneError if the client left before its end
   */
  read(request: IncomingMessage): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      let size = 0
      let settled = false
      const settle = (act: () => void): void => {
        if (settled) return
        settled = true
        act()
      }
      const drop = (error: Error): void => {
        this.#heldBytes -= size
        reject(error)
      }
      const refuse = (error: ProtocolError): void => {
        settle(() => void discard(request, this.#limits.discardMs).then(() => drop(error)))
        chunks.length = 0
      }
      const declared = this.refusalFor(request)
      if (declared) return refuse(declared)
      request.on('data', (chunk: Buffer) => {
        if (settled) return
        size += chunk.length
        this.#heldBytes += chunk.length
        const error = this.#refusal(size)
        if (error) return refuse(error)
        chunks.push(chunk)
      })
      request.on('end', () => settle(() => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size))))
      request.on('close', () => settle(() => drop(new ClientGoneError())))
      request.on('error', () => settle(() => drop(new ClientGoneError())))
    })
  }

  release(sizeBytes: number): void {
    this.#heldBytes -= sizeBytes
  }

  /** What the declared length alone decides: also asked before answering `Expect: 100-continue`. */
  refusalFor(request: IncomingMessage): ProtocolError | null {
    return this.#refusal(Number(request.headers['content-length'] ?? 0))
  }

  #refusal(size: number): ProtocolError | null {
    const { bodyLimitBytes, totalLimitBytes } = this.#limits
    if (size > bodyLimitBytes) return new ProtocolError(413, `The request body has more than ${bodyLimitBytes} bytes`)
    if (this.#heldBytes > totalLimitBytes)
      return new ProtocolError(503, `More than ${totalLimitBytes} bytes of requests are waiting already`)
    return null
  }
}

/** The client left before its request was complete: nobody is there to be answered. */
export class ClientGoneError extends Error {
  constructor() {
    super('the client left before its request was complete')
    this.name = 'ClientGoneError'
  }
}

/** Reads on to the end or until the time is over; answering while a client still sends would reset its connection. */
function discard(request: IncomingMessage, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    const done = (): void => {
      clearTimeout(timer)
      resolve()
    }
    request.once('end', done).once('close', done).once('error', done)
    request.resume()
  })
}
