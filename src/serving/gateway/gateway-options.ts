import { messageOf } from '../../kernel/errors.ts'
import type { SpoolOptions } from '../prediction-log/spool.ts'
import type { DataPortLimits } from './data-port.ts'
import { GatewayOptionsError } from './errors.ts'
import { drainLimits } from './gateway.ts'
import type { DrainLimits, GatewayOptions } from './gateway.ts'

/** What the supervisor writes into the options file of a gateway process. */
export interface GatewayProcessOptions extends Omit<GatewayOptions, 'server'> {
  /** Of the data port; what is left out has its default. */
  limits: Partial<Pick<DataPortLimits, (typeof LIMITS)[number]>>
  /** Percent of the requests that get a line in the access log. */
  accessLogPercent: number
  /** Null: no gRPC; 0: any free one. */
  grpcPort: number | null
  /** What `GET /v2` gives as the server's name. */
  serverName: string
  spool: Partial<Pick<SpoolOptions, 'sealBytes' | 'sealMs' | 'minFreeBytes'>>
  drain: DrainLimits
}

const TEXTS = ['gatewayId', 'token', 'host', 'dataDir', 'controlSocket', 'socketPath'] as const
const LIMITS = ['connections', 'requests', 'headBytes', 'pipelined'] as const
const SPOOL_NUMBERS = ['sealBytes', 'sealMs', 'minFreeBytes'] as const

/**
 * The options from their JSON text: all of `GatewayOptions`, and what has a default: `serverName`, `spool`, `drain`,
 * `limits`, `accessLogPercent`, `grpcPort`.
 * @param text - null where the file can't be read
 * @param path - for the error
 * @throws GatewayOptionsError naming the field
 */
export function parseOptions(text: string | null, path: string): GatewayProcessOptions {
  if (text === null) throw new GatewayOptionsError(path || '(none given)', `the file can't be read`)
  const given = parseFields(text, path)
  for (const name of TEXTS) {
    if (typeof given[name] !== 'string' || given[name] === '')
      throw new GatewayOptionsError(path, `'${name}' is missing`)
  }
  const { port, serverName = 'millrace', spool = {}, drain = {}, limits = {} } = given
  const { grpcPort = null, accessLogPercent = 0, tls, shared } = given
  requirePort(port, 'port', path)
  if (grpcPort !== null) requirePort(grpcPort, 'grpcPort', path)
  if (tls !== undefined) requireTls(tls, path)
  if (shared !== undefined && typeof shared !== 'boolean')
    throw new GatewayOptionsError(path, `'shared' must be true or false`)
  if (typeof accessLogPercent !== 'number' || !(accessLogPercent >= 0 && accessLogPercent <= 100))
    throw new GatewayOptionsError(path, `'accessLogPercent' must be a number from 0 to 100`)
  return {
    ...(given as unknown as GatewayProcessOptions),
    serverName: String(serverName),
    grpcPort: grpcPort as number | null,
    accessLogPercent,
    limits: numbersOf(limits, LIMITS, path, 'limits'),
    spool: numbersOf(spool, SPOOL_NUMBERS, path, 'spool'),
    drain: { ...drainLimits, ...numbersOf(drain, ['idleMs', 'limitMs'], path, 'drain') },
  }
}

function requirePort(port: unknown, name: string, path: string): void {
  if (Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65_535) return
  throw new GatewayOptionsError(path, `'${name}' must be a whole number from 0 to 65535, not ${JSON.stringify(port)}`)
}

function requireTls(tls: unknown, path: string): void {
  const { certificate, key, clientAuthorities = '' } = (tls ?? {}) as Record<string, unknown>
  const texts = [certificate, key, clientAuthorities].every((text) => typeof text === 'string')
  if (!texts || certificate === '' || key === '')
    throw new GatewayOptionsError(path, `'tls' must name the files of a certificate and its key`)
}

function parseFields(text: string, path: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new GatewayOptionsError(path, `it is not JSON: ${messageOf(error)}`, error)
  }
  if (typeof value !== 'object' || value === null) throw new GatewayOptionsError(path, 'it is not an object')
  return value as Record<string, unknown>
}

function numbersOf<Name extends string>(
  given: unknown,
  names: readonly Name[],
  path: string,
  at: string,
): Partial<Record<Name, number>> {
  const numbers: Partial<Record<Name, number>> = {}
  for (const name of names) {
    const value = (given as Record<string, unknown> | null)?.[name]
    if (value === undefined) continue
    if (typeof value !== 'number' || !(value >= 0))
      throw new GatewayOptionsError(path, `'${at}.${name}' must be a number from 0`)
    numbers[name] = value
  }
  return numbers
}
