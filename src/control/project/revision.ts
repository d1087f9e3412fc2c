import { createHash } from 'node:crypto'
import type { ModelConfig, Project } from '../../config/project.ts'

export interface Revision {
  revision: number
  project: Project
  digest: string
  source: string
  sourcePath: string
  by: string
  appliedAtMs: number
}

/** The same configuration has the same digest, whatever its file looks like. */
export function projectDigest(project: Project): string {
  return `sha256:${createHash('sha256').update(canonical(project)).digest('hex')}`
}

/** What a revision changes, one line each, for people. */
export function projectChanges(before: Project | null, after: Project): string[] {
  if (before === null)
    return [
      ...after.models.map((m) => `model ${m.name} is new`),
      ...after.endpoints.map((e) => `endpoint ${e.name} is new`),
    ]
  const old = new Map(before.models.map((m) => [m.name, m]))
  const kept = new Set(after.models.map((m) => m.name))
  const settings = (['name', 'root', 'snapshotIgnore', 'gateway', 'storage', 'alerts'] as const).filter(
    (key) => canonical(before[key]) !== canonical(after[key]),
  )
  return [
    ...settings.map((key) => `${key} changed`),
    ...after.models.flatMap((m) => modelChanges(old.get(m.name), m)),
    ...before.models
      .filter((m) => !kept.has(m.name))
      .map((m) => `model ${m.name} is paused: it left the configuration`),
    ...endpointChanges(before.endpoints, after.endpoints),
  ]
}

function endpointChanges(before: Project['endpoints'], after: Project['endpoints']): string[] {
  const old = new Map(before.map((e) => [e.name, canonical(e)]))
  const gone = before.filter((e) => after.every((kept) => kept.name !== e.name))
  return [
    ...after.flatMap((e) => {
      const was = old.get(e.name)
      if (was === undefined) return [`endpoint ${e.name} is new`]
      return was === canonical(e) ? [] : [`endpoint ${e.name} changed`]
    }),
    ...gone.map((e) => `endpoint ${e.name} is gone: it left the configuration`),
  ]
}

function modelChanges(before: ModelConfig | undefined, after: ModelConfig): string[] {
  if (before === undefined) return [`model ${after.name} is new`]
  const fields = (Object.keys(after) as (keyof ModelConfig)[]).filter(
    (key) => canonical(before[key]) !== canonical(after[key]),
  )
  return fields.map((field) => `model ${after.name}: ${field} changed`)
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}
