import { describe, expect, it } from 'vitest'
import type { ReplicasConfig } from '../../config/project.ts'
import { seededRandom, type Random } from '../../kernel/stats/random.ts'
import { boundsOf, decideReplicas, replicasAtStart, type ReplicaRole, type ReplicasView } from './decide-replicas.ts'
import { LoadHistory } from './replica-load.ts'

const REPORT_MS = 500
const LOOK_MS = 1_000
const START_MS = 1_500

const declaredOf = (overrides: Partial<ReplicasConfig> = {}): ReplicasConfig => ({
  min: 1,
  max: 16,
  targetConcurrency: 8,
  idleMs: 120_000,
  wakeMs: 10_000,
  ...overrides,
})
const liveRole: ReplicaRole = { live: true, asked: false, instead: null, compared: false, fallback: false }

interface Simulated {
  /** Wanted replicas at the end of each second. */
  wanted: number[]
  /** Every change: second, from, to. */
  changes: { atS: number; from: number; to: number }[]
}

/**
 * A deployment under a load, second by second: reports twice a second, a look once, replicas that take 1.5 s to come up.
 * @param load - requests at once that callers have at a second; null: no gateway is heard
 */
function simulate(
  load: (atS: number, random: Random) => number | null,
  seconds: number,
  options: Partial<ReplicasConfig> & { role?: Partial<ReplicaRole>; cores?: number; wanted?: number } = {},
): Simulated {
  const { role = {}, cores = 64, wanted: first = 1, ...overrides } = options
  const declared = declaredOf(overrides)
  const bounds = boundsOf(declared, { ...liveRole, ...role })
  const random = seededRandom(7)
  const history = new LoadHistory()
  const simulated: Simulated = { wanted: [], changes: [] }
  let wanted = first
  let ready = first
  let grownMs: number | null = null
  let shrunkMs: number | null = null
  let calledMs = 0
  let upAtMs = Number.POSITIVE_INFINITY
  for (let nowMs = 0; nowMs < seconds * 1_000; nowMs += REPORT_MS) {
    const requests = load(nowMs / 1_000, random)
    if (requests !== null) history.note(nowMs, requests)
    if (requests !== null && requests > 0) calledMs = nowMs
    if (nowMs >= upAtMs) [ready, upAtMs] = [wanted, Number.POSITIVE_INFINITY]
    if (nowMs % LOOK_MS !== 0) continue
    const decision = decideReplicas({
      declared,
      bounds,
      wanted,
      ready,
      load: history.load(nowMs),
      idleMs: nowMs - calledMs,
      sinceUpMs: grownMs === null ? null : nowMs - grownMs,
      sinceDownMs: shrunkMs === null ? null : nowMs - shrunkMs,
      cores,
    })
    if (decision.kind === 'scale') {
      simulated.changes.push({ atS: nowMs / 1_000, from: wanted, to: decision.to })
      if (decision.to > wanted) [grownMs, upAtMs] = [nowMs, nowMs + START_MS]
      else shrunkMs = nowMs
      wanted = decision.to
      ready = Math.min(ready, wanted)
    }
    simulated.wanted.push(wanted)
  }
  return simulated
}

/** A number of requests at once that fluctuates as arrivals by chance do. */
function poisson(mean: number, random: Random): number {
  let product = random.uniform()
  let count = 0
  for (const limit = Math.exp(-mean); product > limit; count++) product *= random.uniform()
  return count
}

const at = ({ wanted }: Simulated, second: number) => wanted[second]!
const ups = ({ changes }: Simulated) => changes.filter(({ from, to }) => to > from)
const downs = ({ changes }: Simulated) => changes.filter(({ from, to }) => to < from)

describe('replicas under a load', () => {
  it('grow to what a step needs within ten seconds, and shrink a minute after it is gone', () => {
    const step = simulate((s) => (s >= 100 && s < 300 ? 60 : 2), 500)
    expect(at(step, 99)).toBe(1)
    expect(at(step, 110)).toBe(8)
    expect(ups(step).length).toBeLessThanOrEqual(4)
    expect(at(step, 299)).toBe(8)
    expect(at(step, 355)).toBe(8)
    expect(at(step, 395)).toBe(1)
    expect(downs(step).length).toBeLessThanOrEqual(3)
  })

  it('follow a slow ramp up and down without ever going back on the way', () => {
    const ramp = simulate((s) => (s < 600 ? s / 6 : Math.max(0, 200 - s / 6)), 1_300)
    const top = ramp.wanted.indexOf(Math.max(...ramp.wanted))
    expect(Math.max(...ramp.wanted)).toBeGreaterThanOrEqual(12)
    expect(Math.max(...ramp.wanted)).toBeLessThanOrEqual(14)
    expect(downs(ramp).every(({ atS }) => atS > top)).toBe(true)
    expect(ups(ramp).every(({ atS }) => atS <= top)).toBe(true)
    expect(at(ramp, 1_299)).toBe(1)
    // Never with less than two thirds of what is needed while it rises.
    const rising = Array.from({ length: 550 }, (_, i) => i + 30)
    expect(rising.filter((s) => at(ramp, s) * 8 < (s / 6) * 0.66)).toEqual([])
  })

  it('are not moved by a spike of a second, and by one of a few seconds once', () => {
    const blip = simulate((s) => (s === 100 ? 30 : 4), 300)
    expect(blip.changes).toEqual([])
    const spike = simulate((s) => (s >= 100 && s < 106 ? 60 : 4), 400)
    expect(ups(spike).length).toBeLessThanOrEqual(3)
    expect(downs(spike).length).toBeLessThanOrEqual(2)
    expect(at(spike, 399)).toBe(1)
  })

  it('stay at the height of waves that come every minute, and follow those of half an hour', () => {
    const wave = (periodS: number) => (s: number) => 32 + 28 * Math.sin((2 * Math.PI * s) / periodS)
    const quick = simulate(wave(60), 1_200, { wanted: 4 })
    expect(downs(quick).filter(({ atS }) => atS > 200)).toEqual([])
    const slow = simulate(wave(1_800), 7_200, { wanted: 4 })
    // Four waves of a swing of seven replicas: each crossed once up and once down, and no more.
    expect(ups(slow).length).toBeLessThanOrEqual(4 * 8)
    expect(downs(slow).length).toBeLessThanOrEqual(4 * 8)
    expect(Math.min(...slow.wanted.slice(1_000))).toBeLessThanOrEqual(2)
    expect(Math.max(...slow.wanted)).toBeGreaterThanOrEqual(7)
  })

  it('are left alone by noise, wherever the mean lies', () => {
    const changes = [2, 6, 7, 8, 9, 15, 16, 17, 24, 30].map((mean) => {
      const noise = simulate((_, random) => poisson(mean, random), 3_600, { wanted: Math.ceil(mean / 8) })
      return { mean, changes: noise.changes.length }
    })
    // In an hour: it may settle on one more than the mean alone would need, and stays there.
    expect(changes.filter((hour) => hour.changes > 2)).toEqual([])
  })

  it('are never fewer or more than declared', () => {
    const bounds = simulate((s) => (s < 200 ? 500 : 0), 400, { min: 2, max: 5, wanted: 2 })
    expect(Math.max(...bounds.wanted)).toBe(5)
    expect(bounds.wanted.at(-1)).toBe(2)
    expect(
      at(
        simulate(() => 4, 5, { min: 3 }),
        0,
      ),
    ).toBe(3)
    expect(
      at(
        simulate(() => 100, 5, { max: 3, wanted: 9 }),
        0,
      ),
    ).toBe(3)
  })

  it('are no more than two for each processor core, but for a minimum', () => {
    expect(Math.max(...simulate(() => 500, 100, { cores: 2 }).wanted)).toBe(4)
    expect(Math.max(...simulate(() => 500, 100, { cores: 1, min: 6, wanted: 6 }).wanted)).toBe(6)
  })

  it('are kept as they are while no gateway is heard, and after a restart until there was time to listen', () => {
    expect(simulate(() => null, 600, { wanted: 5 }).changes).toEqual([])
    const lost = simulate((s) => (s < 100 ? 40 : null), 600, { wanted: 5 })
    expect(lost.changes).toEqual([])
    const restarted = simulate(() => 0, 59, { wanted: 5 })
    expect(restarted.changes).toEqual([])
  })

  it('wait for those that are starting before more are asked for', () => {
    const { declared, ...rest } = viewOf({ wanted: 4, ready: 2, sinceUpMs: 3_000 })
    const load = { now: 90, recent: 90, steady: 60, peak: null }
    expect(decideReplicas({ ...rest, declared, load })).toEqual({ kind: 'keep', why: '2 of 4 are ready' })
    // One that never comes up is not waited for.
    expect(decideReplicas({ ...rest, declared, load, sinceUpMs: 30_000 })).toMatchObject({ kind: 'scale', to: 8 })
  })
})

describe('a deployment that may have no replica', () => {
  it('goes to zero once nobody has called for as long as declared, and never by a low load alone', () => {
    const idle = simulate((s) => (s < 100 ? 1 : 0), 400, { min: 0 })
    expect(idle.changes).toEqual([{ atS: 220, from: 1, to: 0 }])
    expect(simulate((s) => (s % 60 === 0 ? 1 : 0), 3_600, { min: 0 }).changes).toEqual([])
  })

  it('is woken by one request, with no more than two replicas at first', () => {
    const one = simulate((s) => (s < 10 ? 0 : 1), 30, { min: 0, wanted: 0 })
    expect(one.changes).toEqual([{ atS: 10, from: 0, to: 1 }])
    const crowd = simulate((s) => (s < 10 ? 0 : 100), 14, { min: 0, wanted: 0 })
    expect(crowd.changes[0]).toEqual({ atS: 10, from: 0, to: 2 })
  })

  it('stays at zero while nobody calls and while nobody is heard', () => {
    expect(simulate(() => 0, 600, { min: 0, wanted: 0 }).changes).toEqual([])
    expect(simulate(() => null, 600, { min: 0, wanted: 0 }).changes).toEqual([])
  })
})

describe('what a deployment is for', () => {
  const floor = (declared: Partial<ReplicasConfig>, role: Partial<ReplicaRole>) => {
    const { floor: replicas, mayBeZero } = boundsOf(declaredOf(declared), { ...liveRole, ...role })
    return { replicas, mayBeZero }
  }
  it.each([
    ['live', { min: 3 }, {}, { replicas: 3, mayBeZero: false }],
    ['live, of a model that may have none', { min: 0 }, {}, { replicas: 0, mayBeZero: true }],
    ['kept warm behind the live one', { min: 3 }, { live: false }, { replicas: 1, mayBeZero: false }],
    ['kept for a model that may have none', { min: 0 }, { live: false }, { replicas: 0, mayBeZero: true }],
    ['a fallback', { min: 0 }, { live: false, fallback: true }, { replicas: 1, mayBeZero: false }],
    ['a member of a gather', { min: 0 }, { live: false, asked: true }, { replicas: 1, mayBeZero: false }],
    ['a champion in a comparison', { min: 0 }, { compared: true }, { replicas: 1, mayBeZero: false }],
    ['a challenger', { min: 1 }, { instead: 6, compared: true }, { replicas: 6, mayBeZero: false }],
    ['a challenger of a champion with more than may be', { max: 4 }, { instead: 6 }, { replicas: 4, mayBeZero: false }],
    ['a first version', { min: 0 }, { instead: 0 }, { replicas: 1, mayBeZero: false }],
  ])('%s', (_, declared, role, expected) => {
    expect(floor(declared, role)).toEqual(expected)
  })

  it('keeps what it has while versions are compared, however little comes to it', () => {
    const quiet = { now: 0, recent: 0, steady: 0, peak: 0 }
    const shrinks = (role: Partial<ReplicaRole>) => {
      const bounds = boundsOf(declaredOf(), { ...liveRole, ...role })
      return decideReplicas(viewOf({ wanted: 6, ready: 6, load: quiet, bounds }))
    }
    expect(shrinks({})).toMatchObject({ kind: 'scale', to: 1 })
    expect(shrinks({ compared: true })).toMatchObject({ kind: 'keep' })
    expect(shrinks({ compared: true, instead: 2 })).toMatchObject({ kind: 'keep' })
  })

  it('begins with one at least, and with as many as those have whose traffic it takes', () => {
    expect(replicasAtStart(declaredOf({ min: 0 }))).toBe(1)
    expect(replicasAtStart(declaredOf({ min: 2 }), 5)).toBe(5)
    expect(replicasAtStart(declaredOf({ min: 2, max: 4 }), 5)).toBe(4)
    expect(replicasAtStart(declaredOf({ min: 3, max: 3 }), 1)).toBe(3)
    expect(replicasAtStart(null, 7)).toBe(1)
  })

  it('counts for nothing where the number is fixed: that is taken into use at once', () => {
    const fixed = viewOf({ declared: declaredOf({ min: 4, max: 4 }), wanted: 2 })
    expect(decideReplicas(fixed)).toEqual({ kind: 'scale', to: 4, why: 'declared: 4' })
    expect(decideReplicas({ ...fixed, wanted: 4, idleMs: 1e9 })).toMatchObject({ kind: 'keep' })
  })
})

function viewOf(overrides: Partial<ReplicasView> = {}): ReplicasView {
  return {
    declared: declaredOf(),
    bounds: { floor: 1, mayBeZero: false, mayShrink: true, why: 'at least 1' },
    wanted: 1,
    ready: 1,
    load: { now: null, recent: null, steady: null, peak: null },
    idleMs: null,
    sinceUpMs: null,
    sinceDownMs: null,
    cores: 64,
    ...overrides,
  }
}
