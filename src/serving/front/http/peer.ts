import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { isLoopbackAddress } from '../../../kernel/loopback.ts'
import type { ListenOn, Peer } from './http-front.ts'

export function peerOf(socket: Socket, where: ListenOn): Peer {
  if (where.kind === 'socket') return UNIX_SOCKET
  const address = socket.remoteAddress ?? ''
  return { address, isLocal: isLoopbackAddress(address), isSocket: false, commonName: commonNameOf(socket) }
}

const UNIX_SOCKET: Peer = { address: '', isLocal: true, isSocket: true, commonName: null }

function commonNameOf(socket: Socket): string | null {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return null
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' ? name : null // several names are none
}
