import type { EndpointLimits, RouteKey } from '../kernel/contract/routing.ts'
import type { DeclaredTable } from '../kernel/features/feature-source.ts'
import { toFallback } from './normalise-loop.ts'
import type {
  CombineConfig,
  GatewayConfig,
  GatherEndpointConfig,
  LogConfig,
  ReplicasConfig,
  ServingConfig,
} from './project.ts'
import type { WrittenEndpoint, WrittenModel, WrittenProject } from './schema.ts'

/** Endpoints, replicas and the gateway, in the form that every stage reads. */

type WrittenServing = WrittenModel['serving']

/** Nobody waits longer than this for a replica that was scaled to zero, unless it was said. */
export const WAKE_MS = 30_000

export function toGateway(written: WrittenProject['gateway']): GatewayConfig {
  const { host, port, anonymous, tls, grpcPort, processes, accessLog, limits } = written
  return {
    host,
    port,
    anonymous,
    tls: tls === undefined ? null : { ...tls, clientAuthorities: tls.clientAuthorities ?? null },
    grpcPort: grpcPort === false ? null : grpcPort,
    processes,
    accessLogPercent: accessLog,
    limits,
  }
}

/** Without commands, which take more than what stands under `serving`. */
export function toServing(written: WrittenServing): Omit<ServingConfig, 'server' | 'prepare'> {
  return {
    replicas: toReplicas(written),
    timeoutMs: written.timeout,
    bodyLimitBytes: written.maxBody,
    drainMs: written.drain,
    maxBatchRows: written.maxBatchRows,
    isolate: written.isolate,
    fallback: toFallback(written.fallback),
    sticky: written.sticky === undefined ? null : toKey(written.sticky),
    rules: written.rules.map((rule) => ({
      key: toKey(rule),
      equals: rule.equals,
      version: String(rule.version),
    })),
    limits: toLimits(written.limits),
    enrich: written.enrich.map(toTable),
  }
}

function toTable({ table, key, columns, staleness, missing, stale }: WrittenServing['enrich'][number]): DeclaredTable {
  const found = typeof key === 'string' ? { column: key } : key
  return { table, key: found, columns, stalenessMs: staleness ?? null, missing, stale }
}

function toReplicas({ replicas, timeout }: WrittenServing): ReplicasConfig {
  const wakeMs = Math.min(WAKE_MS, timeout)
  if (typeof replicas === 'number') return fixedReplicas(replicas, wakeMs)
  const { min, max, targetConcurrency, idle, wake } = replicas
  return { min, max, targetConcurrency, idleMs: idle, wakeMs: wake ?? wakeMs }
}

/** So many, whatever the load is. */
export const fixedReplicas = (count: number, wakeMs: number): ReplicasConfig => ({
  min: count,
  max: count,
  targetConcurrency: 8,
  idleMs: 600_000,
  wakeMs,
})

/** Names of headers are the same in any case, and lower case on the wire of the gateway. */
export function toKey(written: { header: string } | { parameter: string }): RouteKey {
  return 'header' in written ? { header: written.header.toLowerCase() } : { parameter: written.parameter }
}

export function toGatherEndpoint(name: string, written: WrittenEndpoint): GatherEndpointConfig {
  const { members, combine, deadline, quorum, join } = written.gather
  return {
    name,
    members,
    combine: toCombine(combine),
    deadlineMs: deadline,
    quorum,
    join,
    timeoutMs: written.timeout,
    bodyLimitBytes: written.maxBody,
    log: toLog(written.log),
    limits: toLimits(written.limits),
  }
}

function toCombine(written: WrittenEndpoint['gather']['combine']): CombineConfig {
  if (typeof written === 'string') return { kind: written }
  return { kind: 'module', path: written.module, timeoutMs: written.timeout }
}

export const toLog = (written: WrittenModel['log']): LogConfig => ({
  mode: written.mode,
  samplePercent: written.sample,
})

const toLimits = (written: WrittenServing['limits']): EndpointLimits => ({
  concurrency: written.concurrency ?? null,
  perCaller: written.perCaller ?? null,
})
