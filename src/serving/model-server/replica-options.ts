import { readFileSync } from 'node:fs'
import type { PlacedTable } from '../../kernel/features/feature-source.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { PreparePlan, ServerPlan } from '../../kernel/server/server-plan.ts'
import { ReplicaOptionsError } from './errors.ts'
import type { Isolate } from './decide-isolation.ts'

/** What the control plane tells a replica that it starts: a JSON file. */
export interface ReplicaOptions {
  replicaId: string
  /** Of this very start: proves who answers. */
  token: string
  deploymentId: string
  model: string
  version: string
  artifactPath: string
  /** `sha256:<hex>` of the file at `artifactPath`. */
  digest: string
  /** Of the version as a whole, where it is more than that file: what the lease says was loaded. */
  versionDigest?: string
  /** Digests of weight files beside it, by their paths there. */
  externalDigests?: Record<string, string>
  /** Columns of a single `[N, K]` input, where the file doesn't name them. */
  features: string[] | null
  /** Tables that come with it and give some of its inputs. */
  tables?: PlacedTable[]
  /** The command that serves it, where that is not this process; then `artifactPath` is a folder. */
  server?: ServerPlan
  /** The command that prepares what the model is fed; then `features` are columns of its input. Absent: there is none. */
  prepare?: PreparePlan
  /** An infer request that must be answered before the replica counts as ready. */
  warmUpRequest?: object | null
  socketPath: string
  /** For frames; absent: none are spoken. */
  framesPath?: string
  controlSocket: string
  maxBatchRows: number
  /** Whether the model runs in a process of its own. Absent: where it is heavy. */
  isolate?: Isolate
  /** `<data directory>/run/<replicaId>.json` */
  recordPath: string
}

type FieldKind = 'text' | 'count' | 'names or null'

const FIELDS: Record<string, FieldKind> = {
  replicaId: 'text',
  token: 'text',
  deploymentId: 'text',
  model: 'text',
  version: 'text',
  artifactPath: 'text',
  digest: 'text',
  features: 'names or null',
  socketPath: 'text',
  controlSocket: 'text',
  maxBatchRows: 'count',
  recordPath: 'text',
}

/** @throws ReplicaOptionsError naming the field */
export function readReplicaOptions(path: string | undefined): ReplicaOptions {
  if (path === undefined) throw new ReplicaOptionsError('(none)', 'no file was named')
  const json = readJson(path)
  for (const [field, kind] of Object.entries(FIELDS)) {
    if (!isKind(json[field], kind))
      throw new ReplicaOptionsError(path, `'${field}' is ${JSON.stringify(json[field])}, not ${kind}`)
  }
  return json as unknown as ReplicaOptions
}

function readJson(path: string): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof json === 'object' && json !== null) return json as Record<string, unknown>
  } catch (cause) {
    throw new ReplicaOptionsError(path, messageOf(cause), cause)
  }
  throw new ReplicaOptionsError(path, 'it is not an object')
}

function isKind(value: unknown, kind: FieldKind): boolean {
  switch (kind) {
    case 'text':
      return typeof value === 'string' && value !== ''
    case 'count':
      return Number.isInteger(value) && (value as number) >= 1
    case 'names or null':
      return (
        value === null ||
        value === undefined ||
        (Array.isArray(value) && value.every((name) => typeof name === 'string'))
      )
  }
}
