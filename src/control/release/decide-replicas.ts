import type { ReplicasConfig } from '../../config/project.ts'
import { STEADY_MS, type Load } from './replica-load.ts'

/**
 * How many replicas a deployment is to have. Pure.
 *
 * The load is counted in requests at once, those included that wait for a replica; `targetConcurrency` of them are one
 * replica's work. Up goes fast: what is far above the capacity counts after a few seconds, and so does what is a little
 * above while it grows; else that counts after a quarter of a minute. Down goes slowly: only to what the highest load of
 * the last minute needs, never within a minute of having gone up, nor twice within a quarter of one. Between the two
 * lies a band in which nothing happens, so that noise moves nothing.
 */
export type ReplicasDecision = { kind: 'keep'; why: string } | { kind: 'scale'; to: number; why: string }

export interface ReplicasView {
  declared: ReplicasConfig
  /** Bounds from what the deployment is for, see `boundsOf`. */
  bounds: ReplicaBounds
  wanted: number
  /** Of them, those that are ready. */
  ready: number
  load: Load
  /** Since somebody called it last, as far as was listened; null: not known. */
  idleMs: number | null
  /** Since it was scaled up last, or given another role; null: not while this process looked. */
  sinceUpMs: number | null
  sinceDownMs: number | null
  /** So many processor cores that more replicas than a multiple of them would only wait for each other. */
  cores: number
}

export interface ReplicaBounds {
  /** Replicas that it has in any case. */
  floor: number
  /** Whether it may go to none while nobody calls. */
  mayBeZero: boolean
  /** False: a share of the traffic is on its way to it, or may come back. */
  mayShrink: boolean
  why: string
}

/** What a deployment is for, as the rows say. */
export interface ReplicaRole {
  /** It has, or gets, live traffic by the route. */
  live: boolean
  /** Copies of live requests, or a membership of a gather: answers are due at once. */
  asked: boolean
  /** An open release brings it: then the replicas that the champion has, whose traffic it is to take. */
  instead: number | null
  /** It is live, and a release is open on its endpoint. */
  compared: boolean
  fallback: boolean
}

/** A load of so many times the capacity is a burst: it is not waited for any longer. */
const BURST = 2
/** So far above the capacity (or below, after shrinking) nothing happens. */
const BAND = 0.1
/** At a time it grows to twice its size, or by two, and then waits for them to come up. */
const GROWTH = 2
/** A replica that does not come up for so long is not waited for. */
const START_PATIENCE_MS = 20_000
/** After having grown it does not shrink for so long. */
export const QUIET_MS = 60_000
/** The load alone never asks for more replicas per processor core: they would only wait for each other. */
export const REPLICAS_PER_CORE = 2

export function decideReplicas(view: ReplicasView): ReplicasDecision {
  const { declared, wanted } = view
  if (declared.min === declared.max) return scaleTo(view, declared.max, `declared: ${declared.max}`)
  const { floor, mayBeZero, why } = view.bounds
  const ceiling = ceilingOf(view)
  if (wanted < floor) return scaleTo(view, floor, why)
  if (wanted > ceiling) return scaleTo(view, ceiling, `at most ${ceiling}`)
  if (wanted === 0) return decideWaking(view, ceiling)
  if (mayBeZero && floor === 0 && isIdle(view))
    return { kind: 'scale', to: 0, why: `nobody has called for ${seconds(view.idleMs ?? 0)}` }
  return growth(view, ceiling) ?? shrinkage(view) ?? keep('the load is as expected')
}

/** What a role asks for besides the load. A number that is declared as fixed counts for every role. */
export function boundsOf(declared: ReplicasConfig, role: ReplicaRole): ReplicaBounds {
  const { min, max } = declared
  const warm = { floor: Math.max(1, min), mayBeZero: false, mayShrink: true }
  if (role.instead !== null) {
    const floor = Math.min(max, Math.max(warm.floor, role.instead))
    return { floor, mayBeZero: false, mayShrink: false, why: 'as many as the champion' }
  }
  if (role.compared) return { ...warm, mayShrink: false, why: 'another version is compared with it' }
  if (role.fallback) return { ...warm, why: 'a fallback is kept warm' }
  if (role.asked) return { ...warm, why: 'it is asked together with others' }
  if (role.live) return { floor: min, mayBeZero: min === 0, mayShrink: true, why: `at least ${min}` }
  const floor = Math.min(1, min)
  const why = floor === 0 ? 'nobody needs it now' : 'one is kept warm'
  return { floor, mayBeZero: min === 0, mayShrink: true, why }
}

/**
 * With how many replicas a deployment begins: one at least, since it is proven before it serves, and as many as those
 * have whose traffic it is to take.
 * @param declared - null: nothing is known of its model any more
 * @param instead - replicas of the champion; 0: there is none
 */
export function replicasAtStart(declared: ReplicasConfig | null, instead = 0): number {
  return declared === null ? 1 : Math.min(declared.max, Math.max(1, declared.min, instead))
}

function decideWaking({ load, declared }: ReplicasView, ceiling: number): ReplicasDecision {
  if (load.now === null || load.now <= 0) return keep('nobody calls')
  const to = Math.min(ceiling, GROWTH, needed(load.now, declared.targetConcurrency))
  return { kind: 'scale', to, why: `${load.now} ${load.now === 1 ? 'request waits' : 'requests wait'} for a replica` }
}

function growth(view: ReplicasView, ceiling: number): ReplicasDecision | null {
  const { load, wanted, declared, sinceUpMs, ready } = view
  if (load.recent === null || load.steady === null) return keep('no gateway has told its load')
  const capacity = declared.targetConcurrency * wanted
  const isGrowing = sinceUpMs !== null && sinceUpMs < STEADY_MS
  const level = isGrowing || load.recent >= BURST * capacity ? load.recent : load.steady
  if (level <= capacity * (1 + BAND)) return null
  const isStarting = ready < wanted && sinceUpMs !== null && sinceUpMs < START_PATIENCE_MS
  if (isStarting) return keep(`${ready} of ${wanted} are ready`)
  const to = Math.min(ceiling, needed(level, declared.targetConcurrency), Math.max(wanted * GROWTH, wanted + GROWTH))
  if (to <= wanted) return keep(`${oneDigit(level)} at once, and ${wanted} is the limit`)
  return { kind: 'scale', to, why: `${oneDigit(level)} requests at once, ${declared.targetConcurrency} per replica` }
}

function shrinkage({ load, wanted, declared, sinceUpMs, sinceDownMs, bounds }: ReplicasView): ReplicasDecision | null {
  if (load.peak === null || !bounds.mayShrink) return null
  if (sinceUpMs !== null && sinceUpMs < QUIET_MS) return null
  if (sinceDownMs !== null && sinceDownMs < STEADY_MS) return null
  const to = Math.max(1, bounds.floor, needed(load.peak, declared.targetConcurrency * (1 - BAND)))
  if (to >= wanted) return null
  const why = `at most ${oneDigit(load.peak)} requests at once in the last minute, ${declared.targetConcurrency} per replica`
  return { kind: 'scale', to, why }
}

function ceilingOf({ declared, bounds, cores }: ReplicasView): number {
  return Math.max(declared.min, bounds.floor, Math.min(declared.max, Math.max(1, cores * REPLICAS_PER_CORE)))
}

const isIdle = ({ idleMs, declared, load }: ReplicasView) =>
  idleMs !== null && idleMs >= declared.idleMs && load.now === 0

const needed = (requests: number, target: number) => Math.max(1, Math.ceil(requests / target - 1e-9))

const scaleTo = ({ wanted }: ReplicasView, to: number, why: string): ReplicasDecision =>
  to === wanted ? keep(why) : { kind: 'scale', to, why }

const keep = (why: string): ReplicasDecision => ({ kind: 'keep', why })

const oneDigit = (value: number) => String(Math.round(value * 10) / 10)

const seconds = (ms: number) => `${Math.floor(ms / 1_000)} s`
