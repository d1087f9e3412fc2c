import { createHash } from 'node:crypto'
import type { ModelConfig } from '../../config/project.ts'
import { stateMachine } from '../../kernel/state-machine.ts'

/** Who asked for it. At most one of each kind is active on a model. */
export type FreezeKind =
  | 'rollback' // a version was rolled back after its promotion: the same code would make the same again
  | 'stability' // runs or evaluations have not been stable
  | 'alert' // a monitor whose response is to freeze
  | 'budget' // a spent error budget whose effect is to freeze
  | 'person'

export type FreezeStatus =
  | 'active' // nothing is released on the model by itself; what a person approved is
  | 'ended'

export const freezeMachine = stateMachine<FreezeStatus, 'end'>('freeze', { active: { end: 'ended' }, ended: {} })

/** While one is active, what would be released by itself waits for a person's approval. */
export interface Freeze {
  id: string
  model: string
  endpoint: string
  kind: FreezeKind
  status: FreezeStatus
  why: string
  /** What would end it, for people. */
  unfreezes: string
  /** After a rollback: code digests of the versions that lost, `none` for one that was imported; else empty. */
  codeDigests: string[]
  /** After a rollback: `configDigest` of the model then. */
  configDigest: string | null
  createdBy: string
  createdAtMs: number
  createdCalendarMs: number
  endedAtMs: number | null
  endedBy: string | null
  endedWhy: string | null
}

/** Stands for the code of a version that was imported. */
export const NO_CODE = 'none'

/** Why nothing is released by itself, and what would change that. */
export function frozenBy(freezes: readonly Pick<Freeze, 'id' | 'why' | 'unfreezes'>[]): string {
  const each = freezes.map(({ id, why, unfreezes }) => `${id}: ${why}; ends by ${unfreezes}`)
  return `automatic release is frozen (${each.join('; ')})`
}

/** Why a freeze after a rollback is over by itself; null: it goes on. Pure. @param now.newVersions - made since it began */
export function endOfRollbackFreeze(
  freeze: Freeze,
  now: { configDigest: string | null; newVersions: { id: string; codeDigest: string | null }[] },
): string | null {
  if (freeze.kind !== 'rollback' || freeze.status !== 'active') return null
  if (now.configDigest !== null && freeze.configDigest !== null && now.configDigest !== freeze.configDigest)
    return `the configuration of ${freeze.model} has changed since`
  const changed = now.newVersions.find((v) => !freeze.codeDigests.includes(v.codeDigest ?? NO_CODE))
  return changed === undefined ? null : `${changed.id} comes from other code than what was rolled back`
}

/**
 * The freeze after a rollback, over by itself since, of which a version is the same again: made before its end by the
 * code that lost. Other code or another configuration says nothing for it. Null: there is none. Pure.
 * @param freezes - of the model, newest first
 * @param version.isMadeSince - the end of the newest of them that came with a rollback
 */
export function sameAsLost(
  freezes: Freeze[],
  version: { codeDigest: string | null; isMadeSince: boolean },
): { id: string; why: string } | null {
  const last = freezes.find((f) => f.kind === 'rollback')
  // A person who unfreezes has said that it may go on.
  if (last?.endedBy !== MILLRACE || last.endedAtMs === null || version.isMadeSince) return null
  return last.codeDigests.includes(version.codeDigest ?? NO_CODE) ? { id: last.id, why: last.why } : null
}

/** Ends what ends by itself. */
export const MILLRACE = 'millrace'

/**
 * Of the part of a model's configuration that its versions are made and proven by: a changed log or monitor says
 * nothing about what was rolled back.
 * @returns `sha256:…` of it as JSON with sorted keys
 */
export function configDigest(model: ModelConfig): string {
  const { endpoint, task, label, positive, holdout, trainingRows, features, scoreOutput } = model
  const { pipeline, gate, release } = model
  const parts = {
    endpoint,
    task,
    label,
    positive,
    holdout,
    trainingRows,
    features,
    scoreOutput,
    pipeline,
    gate,
    release,
  }
  return `sha256:${createHash('sha256')
    .update(JSON.stringify(sorted(parts)))
    .digest('hex')}`
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]))
}
