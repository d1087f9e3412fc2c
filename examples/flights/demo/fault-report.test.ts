import { describe, expect, it } from 'vitest'
import { catchesOf, reportFault, type FaultSeen } from './fault-report.ts'
import { faults } from './faults.ts'
import type { Acknowledged } from './ledger.ts'
import { alarm, look, test, trial } from './loop-builders.ts'

const ONSET_MS = Date.UTC(2001, 2, 19)
const ONSET_AT_MS = 10_000

describe('who caught a fault of training', () => {
  it('is the gate where it let no version through that the faulty code made', () => {
    const report = reportFault(seen('leakage', { versions: [version(1, 'passed'), version(2, 'failed')] }))
    expect(report).toMatchObject({
      caughtBy: 'gate',
      check: 'threshold:auc, champion',
      why: 'AUC 0.63 is below 0.65',
      figures: { auc: 0.63, gain: -0.4 },
      faultyVersions: ['late-flight@2'],
      caughtOn: '2001-03-19',
      badAnswers: 0,
      proofToRouteBackMs: null,
    })
  })

  it('is not the gate where it refused a version from before the fault', () => {
    const report = reportFault(seen('leakage', { versions: [version(1, 'failed'), version(2, 'passed')] }))
    expect(report).toMatchObject({ caughtBy: 'not caught', check: null, caughtOn: null, requestsUntilCaught: null })
    expect(report.why).toContain('No gate, trial or alarm')
  })

  it('is the shadow where harm was proven there, by the comparison that proved it', () => {
    const harm = look({
      decision: 'rollBack',
      atMs: 15_000,
      why: 'harm proven: loss',
      tests: [test(), test({ test: 'errors', verdict: 'open' })],
    })
    const report = reportFault(
      seen('utc', { loop: { trials: [trial({ looks: [look({ decision: 'wait' }), harm] })], alarms: [] } }),
    )
    expect(report).toMatchObject({
      caughtBy: 'shadow',
      check: 'loss',
      why: 'harm proven: loss',
      figures: { requests: 2_400, labels: 2_050, low: 0.0041, limit: 0.003 },
      version: 'late-flight@2',
      proofToRouteBackMs: null,
    })
  })

  it('is the canary with the bad answers until then, and the time until the route was back', () => {
    const harm = look({
      decision: 'rollBack',
      atMs: 15_000,
      tests: [test({ test: 'prediction shift', eValue: 4_000 })],
    })
    const canary = trial({ kind: 'canary', weightPercent: 50, endedAtMs: 15_040, looks: [harm] })
    const acknowledged = [
      answer({ atMs: 9_000 }), // before the fault
      answer({ atMs: 12_000, version: '2' }),
      answer({ atMs: 14_000 }),
      answer({ atMs: 14_500, version: '2' }),
      answer({ atMs: 15_020, version: '2' }), // after the proof, before the route was back
      answer({ atMs: 16_000 }),
    ]
    expect(reportFault(seen('codes', { loop: { trials: [canary], alarms: [] }, acknowledged }))).toMatchObject({
      caughtBy: 'canary',
      check: 'prediction shift',
      figures: { eValue: 4_000 },
      requestsUntilCaught: 3,
      requestsAfterOnset: 5,
      badAnswersUntilCaught: 2,
      badAnswers: 3,
      proofToRouteBackMs: 40,
      lastBadAnswerAfterProofMs: 20,
    })
  })

  it('is nobody where the trial ended well, however many alarms there were about the weather', () => {
    const promoted = trial({ looks: [look({ decision: 'promote' })] })
    const weather = alarm({ source: 'quality', subject: '', version: 'late-flight@1' })
    const report = reportFault(seen('utc', { loop: { trials: [promoted], alarms: [weather] } }))
    expect(report.caughtBy).toBe('not caught')
  })

  it('is a monitor where it spoke up about the faulty version after all', () => {
    const alarms = [alarm({ source: 'quality', subject: '', version: 'late-flight@2' })]
    expect(reportFault(seen('utc', { loop: { trials: [], alarms } }))).toMatchObject({
      caughtBy: 'monitor',
      check: 'quality',
    })
  })

  it('is whoever was first', () => {
    const harm = look({ decision: 'rollBack', atMs: 15_000, tests: [test()] })
    const loop = {
      trials: [trial({ looks: [harm] })],
      alarms: [alarm({ version: 'late-flight@2', firedAtMs: 14_000 })],
    }
    expect(catchesOf(seen('utc', { loop })).map(({ by }) => by)).toEqual(['monitor', 'shadow'])
  })
})

describe('who caught a fault of an application', () => {
  it('is the monitor of the input that it changed', () => {
    const acknowledged = [
      answer({ atMs: 11_000, wrong: true }),
      answer({ atMs: 12_000 }),
      answer({ atMs: 21_000, wrong: true }),
    ]
    const report = reportFault(seen('kilometres', { loop: { trials: [], alarms: [alarm()] }, acknowledged }))
    expect(report).toMatchObject({
      caughtBy: 'monitor',
      check: 'drift of distance',
      figures: { psi: 0.18, limit: 0.1 },
      faultyVersions: [],
      requestsUntilCaught: 2,
      badAnswersUntilCaught: 1,
      badAnswers: 2,
      lastBadAnswerAfterProofMs: null,
    })
  })

  it.each([
    ['about another input', alarm({ subject: 'hour' })],
    ['about answers that it hardly changes', alarm({ source: 'quality', subject: '' })],
    ['from before the fault', alarm({ firedAtMs: 9_000 })],
    ['about how many requests there are', alarm({ source: 'traffic', subject: '' })],
    ['about a promise', alarm({ source: 'service-level/availability', subject: '' })],
  ])('is not an alarm %s', (_, other) => {
    expect(reportFault(seen('kilometres', { loop: { trials: [], alarms: [other] } })).caughtBy).toBe('not caught')
  })

  it('may be an alarm about the answers', () => {
    const about = alarm({ source: 'predictionDrift', subject: '', version: 'late-flight@1' })
    expect(reportFault(seen('outage', { loop: { trials: [], alarms: [about] } })).check).toBe('predictionDrift')
  })
})

function seen(fault: keyof typeof faults, more: Partial<FaultSeen> = {}): FaultSeen {
  return {
    fault: faults[fault],
    onsetMs: ONSET_MS,
    onsetAtMs: ONSET_AT_MS,
    versions: [version(1, 'passed'), version(2, 'passed')],
    releases: [],
    loop: { trials: [], alarms: [] },
    acknowledged: [],
    ...more,
  }
}

/** The second one is trained after the onset. */
function version(number: number, verdict: string): FaultSeen['versions'][number] {
  const checks = [
    { name: 'beats-constant', verdict: 'passed', figures: { constant: 0.44 } },
    { name: 'threshold:auc', verdict: 'failed', figures: { auc: 0.63 } },
    { name: 'champion', verdict: 'failed', figures: { gain: -0.4 } },
  ]
  return {
    version: { ref: `late-flight@${number}`, number },
    gate: { verdict, why: 'AUC 0.63 is below 0.65', decidedAtMs: 12_000, checks },
    asOfMs: ONSET_MS + (number === 1 ? -7 * 86_400_000 : 4 * 3_600_000),
  } as unknown as FaultSeen['versions'][number]
}

const answer = (given: Partial<Acknowledged>): Acknowledged => ({
  predictionId: `p-${given.atMs}`,
  version: '1',
  probability: 0.2,
  late: 0,
  atMs: 0,
  wrong: false,
  ...given,
})
