import { chmodSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo, ListenOptions, Server, Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Tell } from '../tell.ts'
import { ListenError, SharedPortError } from './errors.ts'
import type { HttpFrontLimits, ListenOn } from './http-front.ts'
import { createTlsServer } from './tls.ts'

/** A place where connections are taken. */
export interface Listener {
  /** 0 for a unix socket. */
  readonly port: number
  /** Takes no more connections; those that wait to be taken are. Returns once all that were taken have ended. */
  stop(): Promise<void>
}

const BACKLOG = 1_024
/** Connections beyond the limit that may still be told so; the system drops the others. */
const BEYOND_LIMIT = 256

/** @throws ListenError, SharedPortError, TlsFilesError */
export async function openListener(
  where: ListenOn,
  limits: HttpFrontLimits,
  tell: Tell,
  accept: (socket: Socket) => void,
): Promise<Listener> {
  const tls = where.kind === 'port' && where.tls !== undefined ? createTlsServer(where.tls, limits, tell, accept) : null
  const server = tls?.server ?? createServer({ allowHalfOpen: true, noDelay: true }, accept)
  server.maxConnections = limits.connections + BEYOND_LIMIT
  try {
    await listenOn(server, where)
  } catch (error) {
    tls?.stopWatching()
    throw error
  }
  server.on('error', (error) => tell('error', 'a connection could not be taken', { error: error.message }))
  const port = where.kind === 'port' ? (server.address() as AddressInfo).port : 0
  let stopped: Promise<void> | null = null
  return {
    port,
    stop() {
      tls?.stopWatching()
      stopped ??= stop(server, where)
      return stopped
    },
  }
}

async function listenOn(server: Server, where: ListenOn): Promise<void> {
  if (where.kind === 'socket') {
    rmSync(where.path, { force: true }) // left behind by a process that was killed
    await listening(server, { path: where.path, backlog: BACKLOG }).catch((error: NodeJS.ErrnoException) => {
      throw new ListenError(where.path, error)
    })
    chmodSync(where.path, 0o600)
    return
  }
  const { host, port, shared = false } = where
  await listening(server, { host, port, backlog: BACKLOG, reusePort: shared }).catch((error: NodeJS.ErrnoException) => {
    const address = `${host}:${port}`
    throw shared && isUnsupported(error) ? new SharedPortError(address, error) : new ListenError(address, error)
  })
}

/** What libuv says where SO_REUSEPORT does not exist or does not spread connections. */
function isUnsupported({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ENOTSUP' || code === 'EOPNOTSUPP' || code === 'ENOPROTOOPT' || code === 'EINVAL'
}

function listening(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** The loop takes one connection a turn: after so many turns without one, nobody waits any more. */
const QUIET_TURNS = 8
/** On a port newcomers never end where clients are many: more turns than this are not waited. */
const TURNS_MAX = 4 * BACKLOG

/**
 * Closing a listening socket resets the connections that wait in it. A unix socket therefore loses its name first, so
 * that nobody new finds it; and either kind is closed once the loop has taken all that waited.
 */
async function stop(server: Server, where: ListenOn): Promise<void> {
  if (where.kind === 'socket') rmSync(where.path, { force: true })
  let quietTurns = 0
  server.on('connection', () => (quietTurns = 0))
  for (let turn = 0; turn < TURNS_MAX && quietTurns < QUIET_TURNS; turn += 1) {
    quietTurns += 1
    await nextTurn()
  }
  await new Promise<void>((resolve) => server.close(() => resolve()))
}
