import { createORPCClient, mapEventIterator, ORPCError } from '@orpc/client'
import { RPCLink } from '@orpc/client/fetch'
import type { ContractRouterClient } from '@orpc/contract'

import { messageOf, MillraceError, type ErrorKind } from '../../kernel/errors.ts'
import type { Contract } from '../api/contract.ts'
import type { WireError } from '../api/error-schemas.ts'
import { ConnectionLostError, RemoteError } from './errors.ts'
import { httpFetch, type HttpTarget } from './http-fetch.ts'
import { controlSocketPath } from './socket-path.ts'

interface CallContext {
  /** Overrides how long this call may take, in ms. */
  timeoutMs?: number
}

/** Every procedure of the contract as a typed async function; streams are async iterators. */
export type ControlApi = ContractRouterClient<Contract, CallContext>

export type ControlPlaneAddress =
  | { dataDir: string; waitMs?: number; isSupervised?: () => Promise<boolean> }
  | { socketPath: string; waitMs?: number }
  | { url: string; token: string; waitMs?: number }

export interface ControlPlane {
  api: ControlApi
  /** How the place is called in messages. */
  where: string
  /** A link, good once and for a minute, to the API document. Over the unix socket only. */
  openLink(): Promise<string>
}

const CALL_MS = 30_000
/** What may rightly take longer. */
const SLOW_CALLS_MS: Record<string, number> = {
  'predictionLog.query': 180_000,
  'versions.import': 120_000,
  'project.apply': 60_000,
}

/**
 * The control plane of a data directory (over its unix socket) or of a URL. Connects at the first call.
 * Calls throw MillraceErrors: what the server said, NotRunningError, CallTimedOutError or ConnectionLostError.
 * @example
 * const { api } = connectControlPlane({ dataDir: '.millrace' })
 * const run = await api.runs.start({ model: 'late-flight', by: 'ann' })
 */
export function connectControlPlane(address: ControlPlaneAddress): ControlPlane {
  const target = targetOf(address)
  const base = 'url' in address ? address.url.replace(/\/$/, '') : 'http://millrace'
  const link = new RPCLink<CallContext>({
    url: `${base}/rpc`,
    fetch: (request, _init, { context }, path) => {
      const what = path.join('.')
      return httpFetch(target, request, what, context.timeoutMs ?? SLOW_CALLS_MS[what] ?? CALL_MS)
    },
    interceptors: [
      async (call) => {
        try {
          return translateStream(await call.next(), call.path.join('.'))
        } catch (error) {
          throw asMillraceError(error, call.path.join('.'))
        }
      },
    ],
  })
  return {
    api: createORPCClient(link),
    where: target.where,
    openLink: async () => {
      const request = new Request(`${base}/open-ticket`, { method: 'POST' })
      const response = await httpFetch(target, request, 'open', CALL_MS)
      const body = (await response.json()) as { url: string } & WireError
      if (!response.ok) throw new RemoteError(body)
      return body.url
    },
  }
}

function targetOf(address: ControlPlaneAddress): HttpTarget {
  const waitMs = address.waitMs ?? 0
  if ('url' in address) {
    const headers = { authorization: `Bearer ${address.token}` }
    return { socketPath: null, headers, where: address.url, waitMs }
  }
  if ('socketPath' in address) return { socketPath: address.socketPath, headers: {}, where: address.socketPath, waitMs }
  const { dataDir, isSupervised } = address
  const target = { socketPath: controlSocketPath(dataDir), headers: {}, where: dataDir, waitMs }
  return isSupervised === undefined ? target : { ...target, isSupervised }
}

function translateStream(output: unknown, procedure: string): unknown {
  if (typeof output !== 'object' || output === null || !(Symbol.asyncIterator in output)) return output
  return mapEventIterator(output as unknown as AsyncIterator<unknown, unknown, void>, {
    value: (value) => Promise.resolve(value),
    error: (error) => Promise.resolve(asMillraceError(error, procedure)),
  })
}

function asMillraceError(error: unknown, procedure: string): MillraceError {
  if (error instanceof MillraceError) return error
  if (error instanceof ORPCError) {
    const said: unknown = error.data
    if (isWireError(said)) return new RemoteError(said)
    return new RemoteError({
      code: 'MR_API_REQUEST',
      kind: kindOfStatus(error.status),
      message: `${procedure}: ${error.message}.`,
    })
  }
  return new ConnectionLostError(procedure, messageOf(error), error)
}

function isWireError(data: unknown): data is WireError {
  if (typeof data !== 'object' || data === null) return false
  return (
    'code' in data &&
    typeof data.code === 'string' &&
    'kind' in data &&
    'message' in data &&
    typeof data.message === 'string'
  )
}

function kindOfStatus(status: number): ErrorKind {
  if (status === 401) return 'unauthorized'
  if (status === 404) return 'not-found'
  return status < 500 ? 'invalid' : 'internal'
}
