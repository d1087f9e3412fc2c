import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../kernel/stats/random.ts'
import { trialPlan } from '../../testing/control-builders.ts'
import { CHALLENGER_DOWN_MAX_MS, decideCanary, FIGURES_AGE_MAX_MS, type CanaryQuestion } from './decide-canary.ts'
import {
  demandsOf,
  firstTrial,
  NO_COUNTS,
  trialAfter,
  type ArmCounts,
  type TrialFigures,
  type TrialPlan,
  type TrialSeen,
} from './trial.ts'

const usual = trialPlan()
const plan = trialPlan({
  canary: {
    ...usual.canary,
    steps: [
      { weightPercent: 10, soakMs: 10_000 },
      { weightPercent: 50, soakMs: 20_000 },
    ],
    minRequests: 100,
    maxTimeMs: 600_000,
    margins: { ...usual.canary.margins, loss: 0.01 },
  },
  shadow: { sharePercent: 50, soakMs: 5_000, minRequests: 50, minLabels: 0, maxTimeMs: 60_000 },
  labels: true,
})

describe('a trial without harm', () => {
  it('soaks, then goes on to the next step, and from the last one to all traffic', () => {
    expect(decide({ elapsedMs: 9_999 })).toMatchObject({ decision: 'wait', reason: 'soaking' })
    expect(decide({ elapsedMs: 10_000 })).toMatchObject({ decision: 'next', reason: 'passed' })
    expect(decide({ weightPercent: 50, elapsedMs: 19_999 })).toMatchObject({ decision: 'wait' })
    expect(decide({ weightPercent: 50, elapsedMs: 20_000 })).toMatchObject({ decision: 'promote', reason: 'passed' })
  })

  it('as a shadow goes on to the canary', () => {
    const shadow = { strategy: 'shadow' } as const
    expect(decide({ kind: 'shadow', elapsedMs: 4_999 }, {}, shadow)).toMatchObject({ decision: 'wait' })
    expect(decide({ kind: 'shadow', elapsedMs: 5_000 }, {}, shadow)).toMatchObject({ decision: 'next' })
  })

  it('says with numbers what was compared and what was not', () => {
    const { why, tests } = decide({}, {}, { loggedPercent: 0 })
    expect(why).toBe(
      'canary at 10%: 1000 requests and 0 labels in 5 min without harm; ' +
        'no worse than m@1, proven: latency p50: 5.2 ms (4.96 to 5.2 ms) against 5.2 ms (4.96 to 5.2 ms); ' +
        'latency p99: 5.2 ms (4.96 to 5.2 ms) against 5.2 ms (4.96 to 5.2 ms); nothing against it in errors; ' +
        'not compared: prediction shift (predictions are not logged), loss (predictions are not logged)',
    )
    expect(tests.map((t) => [t.test, t.verdict])).toEqual([
      ['errors', 'open'],
      ['latency p50', 'fine'],
      ['latency p99', 'fine'],
      ['prediction shift', 'off'],
      ['loss', 'off'],
    ])
  })
})

describe('without data nothing goes on', () => {
  it.each<[string, Partial<TrialSeen> & Parts, Partial<CanaryQuestion>, Partial<TrialPlan>, string]>([
    ['no request', { challenger: NO_COUNTS }, {}, {}, 'noTraffic'],
    ['eight requests', { challenger: counts(8) }, {}, {}, 'fewRequests'],
    ['nothing asked for and nothing there', { challenger: NO_COUNTS }, {}, demanding({ minRequests: 0 }), 'noTraffic'],
    ['clients that all left', { challenger: { ...counts(500), interrupted: 450 } }, {}, {}, 'fewRequests'],
    ['no figures of the lake', {}, { figuresAgeMs: null }, {}, 'notMeasured'],
    ['old figures', {}, { figuresAgeMs: FIGURES_AGE_MAX_MS + 1 }, {}, 'notMeasured'],
    ['a lake that can not be read', {}, { figuresWhy: 'no such file' }, {}, 'notMeasured'],
    ['predictions that have not reached the lake', { figures: figures({ requests: 49 }) }, {}, {}, 'notMeasured'],
    ['no labels where some are demanded', { weightPercent: 50 }, {}, demanding({ minLabels: 10 }), 'fewLabels'],
    [
      'no task to read labels by',
      { weightPercent: 50 },
      {},
      { ...demanding({ minLabels: 10 }), labels: false },
      'fewLabels',
    ],
  ])('%s: waits, and is held when its time is over', (_what, seen, question, changed, reason) => {
    expect(decide({ elapsedMs: 60_000, ...seen }, question, changed)).toMatchObject({ decision: 'wait', reason })
    const late = decide({ elapsedMs: 600_000, ...seen }, question, changed)
    expect(late).toMatchObject({ decision: 'hold', reason })
    expect(late.why).toMatch(/^10 min are over and it is not decided: /)
    expect(late.missing).toHaveLength(1)
  })

  it('its time is that of the whole canary, and a shadow has its own', () => {
    const few = { challenger: counts(8) }
    const steps = [{ elapsedMs: 599_000 }, { weightPercent: 50, elapsedMs: 25_000, ...few }]
    expect(decide(steps)).toMatchObject({ decision: 'hold' })
    const afterShadow = [
      { kind: 'shadow' as const, elapsedMs: 599_000 },
      { elapsedMs: 25_000, ...few },
    ]
    expect(decide(afterShadow)).toMatchObject({ decision: 'wait' })
    expect(decide({ kind: 'shadow', elapsedMs: 60_000, ...few })).toMatchObject({ decision: 'hold' })
  })

  it('what is held goes on as soon as there is enough', () => {
    expect(decide({ elapsedMs: 86_400_000 })).toMatchObject({ decision: 'next' })
  })

  it('says that traffic has stopped', () => {
    expect(decide({ challenger: counts(40) }, { quietMs: 90_000 }).why).toBe(
      '40 of 100 requests answered by m@2, none counted for 90 s',
    )
  })

  it('fewer predictions are demanded of the lake where fewer are logged, none where none are', () => {
    const lake = { figures: figures({ requests: 5 }) }
    expect(decide(lake, {}, { loggedPercent: 10 })).toMatchObject({ decision: 'next' })
    expect(decide(lake, {}, { loggedPercent: 100 })).toMatchObject({ decision: 'wait' })
    expect(decide({ figures: null }, { figuresAgeMs: null }, { loggedPercent: 0 })).toMatchObject({ decision: 'next' })
  })

  it('labels are demanded before the last step ends, of the whole canary, or that the loss is proven no worse', () => {
    const demands = demanding({ minLabels: 150 })
    const labelled = (n: number) => figures({ losses: { n, sum: 0.3 * n, squares: 0.1 * n } })
    expect(decide({ figures: labelled(0) }, {}, demands)).toMatchObject({ decision: 'next' })
    const two = (first: number, second: number) =>
      decide(
        [
          { elapsedMs: 60_000, figures: labelled(first) },
          { weightPercent: 50, figures: labelled(second) },
        ],
        {},
        demands,
      )
    expect(two(90, 50)).toMatchObject({ decision: 'wait', reason: 'fewLabels', labels: 140 })
    expect(two(90, 60)).toMatchObject({ decision: 'promote' })
    const same = { n: 140, sum: 42, squares: 12.6 }
    const proven = {
      ...figures(),
      challenger: { ...figures().challenger, losses: same },
      champion: { ...figures().champion, losses: same },
    }
    expect(decide({ weightPercent: 50, figures: proven }, {}, demands)).toMatchObject({ decision: 'promote' })
  })
})

describe('harm', () => {
  const errors = { challenger: { ...counts(1_000), failed: 60 }, champion: { ...counts(9_000), failed: 30 } }

  it('takes the traffic back at any time, also while it soaks', () => {
    expect(decide({ ...errors, elapsedMs: 1 })).toMatchObject({ decision: 'rollBack', reason: 'harm' })
    const { why } = decide(errors)
    expect(why).toMatch(
      /^harm proven: errors: 60 of 1000 failed \(6%\), of the champion 30 of 9000 \(0.333%\): at least [\d.]+ times as often, up to 1 is allowed; e = \S+, harm from 400$/,
    )
  })

  it('is not proven by what is within the declared margin', () => {
    const within = { challenger: { ...counts(1_000), failed: 5 }, champion: { ...counts(9_000), failed: 30 } }
    expect(decide(within)).toMatchObject({ decision: 'next' })
    expect(decide(errors, {}, margins({ errors: 30 }))).not.toMatchObject({ decision: 'rollBack' })
  })

  it('of latency, predictions and losses, each by its own test', () => {
    expect(decide({ challenger: counts(1_000, 90) }).why).toContain('harm proven: latency p50')
    expect(decide({ challenger: counts(1_000, 90) }, {}, margins({ latency: 30 }))).toMatchObject({ decision: 'next' })
    const shifted = { figures: figures({ bins: [0, 0, 1_000, 0] }) }
    expect(decide(shifted).why).toContain('harm proven: prediction shift')
    expect(decide(shifted, {}, margins({ predictionShift: 100 }))).toMatchObject({ decision: 'next' })
    const worse = {
      figures: figures({ losses: { n: 500, sum: 200, squares: 90 } }, { losses: { n: 4_500, sum: 900, squares: 220 } }),
    }
    expect(decide(worse).why).toContain('harm proven: loss')
    expect(decide(worse, {}, margins({ loss: 0.5 }))).toMatchObject({ decision: 'next' })
  })

  it('of latency needs more than a few milliseconds, and is not judged by copies, which wait', () => {
    const slower = { challenger: counts(1_000, 4), champion: counts(9_000, 1) }
    expect(decide(slower)).toMatchObject({ decision: 'next' })
    const copies = { kind: 'shadow' as const, challenger: counts(1_000, 90), champion: counts(1_000) }
    const { decision, tests } = decide(copies)
    expect(decision).toBe('next')
    expect(tests.filter((t) => t.test.startsWith('latency')).map((t) => [t.verdict, t.challengerN])).toEqual([
      ['off', 1_000],
      ['off', 1_000],
    ])
  })

  it('of a shadow is told by pairs, where two means would show nothing yet', () => {
    const losses = { n: 200, sum: 100, squares: 150 }
    const pairs = { n: 200, sum: 10, squares: 0.6 }
    const paired = { ...figures({ losses }, { losses }), paired: pairs }
    expect(decide({ kind: 'shadow', figures: paired }, {}, margins({ loss: 0.001 })).why).toContain(
      'loss: difference +0.05',
    )
    expect(decide({ figures: paired }, {}, margins({ loss: 0.001 }))).not.toMatchObject({ decision: 'rollBack' })
  })

  it('waits for a champion that can take the traffic; a shadow has none to give back', () => {
    expect(decide(errors, { championReady: 0 })).toMatchObject({ decision: 'wait', reason: 'harmWithoutChampion' })
    expect(decide(errors, { championReady: null })).toMatchObject({ decision: 'wait' })
    const copies = { kind: 'shadow' as const, challenger: { ...counts(1_000), failed: 500 }, champion: counts(1_000) }
    expect(decide(copies, { championReady: 0 })).toMatchObject({ decision: 'rollBack' })
  })

  it('once proven stays proven, whatever is counted later', () => {
    const before = decide(errors, { championReady: 0 })
    expect(before.harm).toContain('errors')
    expect(decide({}, { before })).toMatchObject({
      decision: 'rollBack',
      why: before.why.split(';').slice(0, 2).join(';'),
    })
  })

  it('is also that it does not answer at all', () => {
    expect(decide({ challenger: NO_COUNTS }, { challengerDownMs: CHALLENGER_DOWN_MAX_MS - 1 })).toMatchObject({
      decision: 'wait',
    })
    expect(decide({ challenger: NO_COUNTS }, { challengerDownMs: CHALLENGER_DOWN_MAX_MS })).toMatchObject({
      decision: 'rollBack',
      why: 'm@2 has had no ready replica for 60 s',
    })
  })

  it('of earlier steps adds up, as errors and labels are compared over the whole canary', () => {
    const some = { challenger: { ...counts(1_000), failed: 7 }, champion: { ...counts(1_000), failed: 0 } }
    const half = { weightPercent: 50, elapsedMs: 60_000, ...some }
    expect(decide(half)).toMatchObject({ decision: 'promote' })
    expect(decide([half, half])).toMatchObject({ decision: 'rollBack' })
  })
})

describe('a champion in trouble', () => {
  it('without a ready replica: the shares stay, nothing is decided, and a person is asked at the end', () => {
    const down = decide({}, { championReady: 0 })
    expect(down).toMatchObject({ decision: 'wait', reason: 'championDown' })
    expect(down.why).toContain('m@1 has no ready replica: m@2 keeps its 10%')
    expect(decide({ elapsedMs: 600_000 }, { championReady: 0 })).toMatchObject({ decision: 'hold' })
    expect(decide({}, { championReady: null })).toMatchObject({ decision: 'next' })
  })

  it('that fails as often lets no challenger through that fails too', () => {
    const both = { challenger: { ...counts(1_000), failed: 200 }, champion: { ...counts(9_000), failed: 1_800 } }
    expect(decide(both)).toMatchObject({ decision: 'wait', reason: 'bothFailing' })
    const one = { challenger: counts(1_000), champion: { ...counts(9_000), failed: 1_800 } }
    expect(decide(one)).toMatchObject({ decision: 'next' })
  })
})

it('shares its error budget out over the comparisons, the phases and, for the latency, the steps', () => {
  expect(decide({}).tests.map((t) => t.alpha)).toEqual([0.0025, 0.00125, 0.00125, 0.0025, 0.0025])
  const shadow = decide({ kind: 'shadow' }, {}, { strategy: 'shadow' })
  expect(shadow.tests.map((t) => t.alpha)).toEqual([0.00125, 0.00125, 0.00125, 0.00125, 0.00125])
})

it('rolls back at most alpha of the challengers that are no worse, looked at after every few requests', () => {
  const random = seededRandom(11)
  const alpha = 0.1
  const canaries = 100
  let rolledBack = 0
  for (let i = 0; i < canaries; i++) {
    const arms = {
      challenger: { ...NO_COUNTS, latency: {} as Record<string, number> },
      champion: { ...NO_COUNTS, latency: {} as Record<string, number> },
    }
    const bins = { challenger: [0, 0, 0, 0], champion: [0, 0, 0, 0] }
    for (let look = 0; look < 40; look++) {
      for (let request = 0; request < 50; request++) {
        const name = random.uniform() < 0.1 ? 'challenger' : 'champion'
        const arm = arms[name]
        const bucket = 60 + random.integer(40)
        arms[name] = { ...arm, requests: arm.requests + 1, failed: arm.failed + (random.uniform() < 0.05 ? 1 : 0) }
        arm.latency[bucket] = (arm.latency[bucket] ?? 0) + 1
        bins[name][random.integer(4)]! += 1
      }
      const measured = figures({ bins: bins.challenger }, { bins: bins.champion })
      const changed = { ...plan, canary: { ...plan.canary, alpha } }
      const look = decide({ ...arms, figures: measured }, {}, changed)
      if (look.decision !== 'rollBack') continue
      rolledBack++
      break
    }
  }
  expect(rolledBack / canaries).toBeLessThanOrEqual(alpha)
})

describe('the steps', () => {
  it('begin as declared', () => {
    expect(firstTrial({ ...plan, strategy: 'immediate' })).toBeNull()
    expect(firstTrial(plan)).toEqual({ kind: 'canary', step: 1, weightPercent: 10 })
    expect(firstTrial({ ...plan, strategy: 'shadow' })).toEqual({ kind: 'shadow', step: 0, weightPercent: 50 })
  })

  it('never shrink, also where they are declared anew meanwhile', () => {
    const trial = { kind: 'canary', step: 1, weightPercent: 30 } as const
    expect(trialAfter(plan, trial)).toEqual({ kind: 'canary', step: 2, weightPercent: 50 })
    expect(trialAfter(plan, { ...trial, step: 7, weightPercent: 60 })).toBeNull()
    expect(demandsOf(plan, trial).soakMs).toBe(20_000)
    expect(demandsOf(plan, { ...trial, weightPercent: 99 }).soakMs).toBe(20_000)
  })
})

interface Parts {
  kind?: 'shadow' | 'canary'
  weightPercent?: number
}

/** A canary at 10% after five minutes: 1,000 and 9,000 requests alike, all in the lake. */
function decide(
  seen: (Partial<TrialSeen> & Parts) | (Partial<TrialSeen> & Parts)[],
  question: Partial<CanaryQuestion> = {},
  changed: Partial<TrialPlan> = {},
) {
  return decideCanary({
    plan: { ...plan, ...changed },
    trials: [seen].flat().map(seenOf),
    before: null,
    championReady: 2,
    challengerDownMs: 0,
    quietMs: 0,
    figuresAgeMs: 1_000,
    figuresWhy: null,
    nowMs: 1_000_000,
    ...question,
  })
}

function seenOf({ kind = 'canary', weightPercent = 10, ...seen }: Partial<TrialSeen> & Parts, i: number): TrialSeen {
  const trial = {
    id: `trial-${i + 1}`,
    releaseId: 'release-2',
    endpoint: 'm',
    kind,
    step: kind === 'shadow' ? 0 : i + 1,
    weightPercent: kind === 'shadow' ? 50 : weightPercent,
    status: 'running' as const,
    why: null,
    challengerId: 'm@2',
    championId: 'm@1',
    startedAtMs: 0,
    startedCalendarMs: 0,
    endedAtMs: null,
  }
  const elapsedMs = 300_000
  return { trial, elapsedMs, challenger: counts(1_000), champion: counts(9_000), figures: figures(), ...seen }
}

/** All of them in the bucket of 5 ms, or of `latencyMs`. */
function counts(requests: number, latencyMs = 5): ArmCounts {
  const bucket = Math.ceil(Math.log(latencyMs / 0.1) / Math.log(1.05))
  return { requests, failed: 0, interrupted: 0, latency: { [bucket]: requests } }
}

function figures(
  challenger: Partial<TrialFigures['challenger']> = {},
  champion: Partial<TrialFigures['champion']> = {},
): TrialFigures {
  const losses = { n: 0, sum: 0, squares: 0 }
  return {
    trialId: 'trial-1',
    challenger: { requests: 1_000, bins: [0, 1_000, 0, 0], losses, ...challenger },
    champion: { requests: 9_000, bins: [0, 9_000, 0, 0], losses, ...champion },
    paired: losses,
  }
}

function demanding(demands: Partial<TrialPlan['canary']>): Partial<TrialPlan> {
  return { canary: { ...plan.canary, ...demands } }
}

function margins(changed: Partial<TrialPlan['canary']['margins']>): Partial<TrialPlan> {
  return demanding({ margins: { ...plan.canary.margins, ...changed } })
}
