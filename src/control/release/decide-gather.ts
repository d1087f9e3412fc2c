import type { GatherEndpointConfig } from '../../config/project.ts'
import { gatherSignature, type GatherVoice } from '../../kernel/contract/gather-signature.ts'
import type { Signature } from '../../kernel/model/signature.ts'
import type { GatherMember } from './gather.ts'

/** A version that a gather is to have, by its configuration. */
export interface GatherCandidate {
  versionId: string
  model: string
  /** It was released again since it was last refused here. */
  isReleasedAnew: boolean
  byRollback: boolean
  signature: Signature | null
  /** It has a deployment that gateways know. */
  deployed: boolean
}

export interface GatherView {
  config: GatherEndpointConfig
  /** All that are or were in it. */
  members: GatherMember[]
  /** Of each declared member, in that order, the versions that it is to have, the newest first. */
  candidates: GatherCandidate[]
  /** Signatures of its members, by version. */
  signatureOf(versionId: string): Signature | null
}

export type GatherAct = {
  kind: 'join' | 'admit' | 'refuse' | 'leave'
  versionId: string
  model: string
  why: string
}

/**
 * Who joins a gather, is admitted, refused, or leaves. Pure; each look decides anew from what is there:
 *
 *   released ─▶ deployed ─▶ joining: gets copies ─▶ member, and the oldest of its model leaves
 *                                └─ too many failed ─▶ refused, and the older one stays
 *
 * Nobody waits for copies where there could be none: the first members, and those without whom the quorum is not there.
 * A version that was a member before, or comes back by a rollback, is known and comes at once.
 */
export function decideGather(view: GatherView): GatherAct[] {
  const acts: GatherAct[] = []
  const { config, candidates } = view
  const rows = new Map(view.members.map((m) => [m.versionId, m]))
  const members = new Set(view.members.filter((m) => m.status === 'member').map((m) => m.versionId))
  const act = (kind: GatherAct['kind'], { versionId, model }: { versionId: string; model: string }, why: string) => {
    acts.push({ kind, versionId, model, why })
    if (kind === 'admit') members.add(versionId)
    if (kind === 'leave') members.delete(versionId)
  }
  const isFounding = members.size === 0
  for (const candidate of candidates) {
    const row = rows.get(candidate.versionId)
    if (row?.status === 'member' || !candidate.deployed) continue
    // Until it is released again, or a person lets it try again.
    if (row?.status === 'refused' && !candidate.isReleasedAnew) continue
    const unfit = misfitOf(candidate, members, view)
    if (unfit !== null) {
      act('refuse', candidate, unfit)
      continue
    }
    const atOnce = atOnceWhy(candidate, row, isFounding, members.size, config)
    if (atOnce !== null) act('admit', candidate, atOnce)
    else if (row?.status !== 'joining')
      act('join', candidate, `it gets copies until it has answered ${config.join.requests}`)
    else {
      const judged = judgeJoin(row, config)
      if (judged !== null) act(judged.kind, candidate, judged.why)
    }
  }
  const wanted = new Set(candidates.map((c) => c.versionId))
  for (const row of view.members)
    if (row.status === 'joining' && !wanted.has(row.versionId)) act('leave', row, whyNotWanted(row, config))
  for (const row of leaving(view, members, wanted)) act('leave', row.member, row.why)
  return acts
}

/** Null: it has to join by copies. */
function atOnceWhy(
  { byRollback }: GatherCandidate,
  row: GatherMember | undefined,
  isFounding: boolean,
  members: number,
  { quorum, combine, join }: GatherEndpointConfig,
): string | null {
  const needed = combine.kind === 'first' ? 1 : quorum
  if (isFounding) return 'it is among the first members'
  if (members < needed) return `with ${members} members there is no quorum of ${needed}`
  if (join.requests === 0) return 'no copies are asked for before'
  if (byRollback) return 'a rollback brought it back'
  if (row?.status === 'left' && row.admittedAtMs !== null) return 'it has been a member before'
  return null
}

/** Null: it has not answered enough yet. */
export function judgeJoin(
  { requests, failed }: Pick<GatherMember, 'requests' | 'failed'>,
  { join }: Pick<GatherEndpointConfig, 'join'>,
): { kind: 'admit' | 'refuse'; why: string } | null {
  const share = `${failed} of ${requests} copies failed`
  // From then on nothing could make it good: more copies than are asked for are not waited for.
  if (failed > join.maxErrorShare * Math.max(join.requests, requests))
    return { kind: 'refuse', why: `${share}, more than ${percent(join.maxErrorShare)} are not borne` }
  return requests >= join.requests
    ? { kind: 'admit', why: `${share}, of ${join.requests} that it had to answer` }
    : null
}

const percent = (share: number) => `${Number((100 * share).toFixed(2))}%`

function misfitOf(candidate: GatherCandidate, members: ReadonlySet<string>, view: GatherView): string | null {
  const { signature, versionId, model } = candidate
  if (signature === null) return 'its signature is not known'
  const voices = [...members]
    .filter((id) => id !== versionId && view.members.find((m) => m.versionId === id)?.model !== model)
    .flatMap((id): GatherVoice[] => {
      const known = view.candidates.find((c) => c.versionId === id)?.signature ?? view.signatureOf(id)
      return known === null ? [] : [{ name: id, signature: known }]
    })
  const { misfits } = gatherSignature(view.config.combine.kind, [...voices, { name: versionId, signature }])
  return misfits.find((m) => m.member === versionId)?.why ?? null
}

/** Of each model the members beyond the number that is declared, those that are not wanted first, then the oldest. */
function leaving(
  { config, members: rows, candidates }: GatherView,
  members: ReadonlySet<string>,
  wanted: ReadonlySet<string>,
): { member: { versionId: string; model: string }; why: string }[] {
  const modelOf = (id: string) =>
    rows.find((m) => m.versionId === id)?.model ?? candidates.find((c) => c.versionId === id)!.model
  // By their places rather than by times: a clock may have been set back between two releases.
  const placeOf = (id: string) => (wanted.has(id) ? candidates.findIndex((c) => c.versionId === id) : candidates.length)
  const inOrder = [...members].toSorted((a, b) => placeOf(a) - placeOf(b))
  return inOrder.flatMap((versionId) => {
    const model = modelOf(versionId)
    const declared = config.members.find((m) => m.model === model)
    const place = inOrder.filter((id) => modelOf(id) === model).indexOf(versionId)
    const newest = inOrder.find((id) => modelOf(id) === model)
    if (declared === undefined)
      return [{ member: { versionId, model }, why: `${model} is no longer declared as a member` }]
    if (place < declared.versions) return []
    return [{ member: { versionId, model }, why: `${newest} has taken its place` }]
  })
}

function whyNotWanted({ model }: GatherMember, { members }: GatherEndpointConfig): string {
  if (!members.some((m) => m.model === model)) return `${model} is no longer declared as a member`
  return 'another version was released meanwhile'
}
