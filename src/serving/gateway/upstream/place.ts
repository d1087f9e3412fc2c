import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { UpstreamError } from '../errors.ts'

/** Where a replica listens. */
export type Place = { path: string } | { host: string; port: number }

export function connectTo(place: Place): Socket {
  return connect({ ...place, noDelay: true })
}

const READ_BYTES = 64 * 1024
/** For all connections: whatever is read is handed over before anything else is. */
const readInto = Buffer.allocUnsafeSlow(READ_BYTES)

/**
 * The same without a stream in between, which costs memory of 64 KB for every read: worth it where many connections have
 * little to say each. The socket has no 'data' events.
 * @param onRead - gets each piece in memory of its own
 */
export function connectReading(place: Place, onRead: (bytes: Buffer) => void): Socket {
  const callback = (length: number): boolean => {
    onRead(Buffer.from(readInto.subarray(0, length)))
    return true
  }
  return connect({ ...place, noDelay: true, onread: { buffer: readInto, callback } })
}

export function placeText(place: Place): string {
  return 'path' in place ? place.path : `${place.host}:${place.port}`
}

export interface ConnectionEnd {
  /** We closed it. */
  aborted: boolean
  /** It had been open. */
  connected: boolean
  failure: NodeJS.ErrnoException | null
}

/** What the end of a connection means to the exchanges that were on it. */
export function faultOf(place: Place, { aborted, connected, failure }: ConnectionEnd): UpstreamError {
  const where = placeText(place)
  const why = failure?.message ?? 'the connection was closed'
  if (aborted) return new UpstreamError('aborted', `The exchange with ${where} was given up.`)
  if (connected) return new UpstreamError('died', `The replica at ${where} went away: ${why}.`, failure)
  // On unix sockets a full accept queue is EAGAIN at once: the replica lives, it just can't take more.
  const fault = failure?.code === 'EAGAIN' ? 'busy' : 'refused'
  return new UpstreamError(fault, `No connection to the replica at ${where}: ${why}.`, failure)
}

export function connectTimedOut(ms: number): NodeJS.ErrnoException {
  return Object.assign(new Error(`no connection within ${ms} ms`), { code: 'ETIMEDOUT' })
}
