import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ListenOn, Peer } from './http-front.ts'

export function peerOf(socket: Socket, where: ListenOn): Peer {
  if (where.kind === 'socket') return UNIX_SOCKET
  const address = socket.remoteAddress ?? ''
  return { address, isLocal: isLoopback(address), isSocket: false, commonName: commonNameOf(socket) }
}

const UNIX_SOCKET: Peer = { address: '', isLocal: true, isSocket: true, commonName: null }

/** IPv4 also as IPv6 writes it: `::ffff:127.0.0.1`. @see RFC 6890, RFC 4291, 2.5.3 */
export function isLoopback(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/i.test(address)
}

function commonNameOf(socket: Socket): string | null {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return null
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' ? name : null // several names are none
}
