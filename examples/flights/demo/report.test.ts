import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { faults } from './faults.ts'
import type { Acknowledged } from './ledger.ts'
import { alarm, look, loop, test, trial } from './loop-builders.ts'
import { demoReportJsonSchema, demoReportSchema } from './report-schema.ts'
import { buildReport, comparePredictions, promises, type LakeRow, type Seen } from './report.ts'
import { summarise } from './summary.ts'

const schemaFile = new URL('../../../docs/reference/demo-report.schema.json', import.meta.url)

describe('demo-report.json', () => {
  it('has the shape of docs/reference/demo-report.schema.json', () => {
    const published = z.fromJSONSchema(JSON.parse(readFileSync(schemaFile, 'utf8')))
    const report = JSON.parse(JSON.stringify(buildReport(seen())))
    expect(published.safeParse(report).error).toBeUndefined()
    expect(published.safeParse({ ...report, passed: 'yes' }).success).toBe(false)
    expect(published.safeParse({ ...report, predictions: { lost: 0 } }).success).toBe(false)
    expect(demoReportSchema.parse(report)).toEqual(report)
  })

  it('is described by a file that is up to date', () => {
    expect(JSON.parse(readFileSync(schemaFile, 'utf8'))).toEqual(JSON.parse(JSON.stringify(demoReportJsonSchema())))
  })

  it('passes when every promise is kept', () => {
    const report = buildReport(seen())
    expect(report.checks.filter(({ passed }) => !passed)).toEqual([])
    expect(report.passed).toBe(true)
    expect(report.totals).toEqual({
      trained: 3,
      released: 1,
      rolledBack: 0,
      stopped: 0,
      onTrial: 0,
      waiting: 0,
      spare: 1,
      rejected: 1,
      retired: 1,
    })
    expect(report.quality.frozen.version).toBe('late-flight@1')
    expect(report.leadTimes).toEqual({ count: 1, medianMs: 900, maxMs: 900 })
  })

  it.each([
    [
      'requests',
      { requests: { sent: 100, answered: 100, failed: 0, interrupted: 0, sentWhileHeld: 0, sentOnTrial: 0 } },
    ],
    [
      'failed',
      { requests: { sent: 30_001, answered: 30_000, failed: 1, interrupted: 0, sentWhileHeld: 0, sentOnTrial: 0 } },
    ],
    [
      'books',
      { requests: { sent: 30_001, answered: 30_000, failed: 0, interrupted: 0, sentWhileHeld: 0, sentOnTrial: 0 } },
    ],
    ['lost', { lake: lake().slice(1), frozen: { version: 'late-flight@1', probabilities: [0.5, 0.5, 0.5] } }],
    [
      'doubled',
      { lake: [...lake(), lake()[0]!], frozen: { version: 'late-flight@1', probabilities: Array(5).fill(0.5) } },
    ],
    ['different', { lake: lake().map((row) => ({ ...row, version: '9' })) }],
    ['labels', { labels: { sent: 4, accepted: 3 } }],
    ['improvement', { frozen: { version: 'late-flight@1', probabilities: [0.9, 0.1, 0.1, 0.1] } }],
    ['frozen', { lake: lake().map((row) => ({ ...row, version: '1' })) }],
    ['schedule', { loop: wholeLoop({ firings: [firing('alarm')] }) }],
    ['alarm', { loop: wholeLoop({ firings: [firing('cron')] }) }],
    ['canary', { loop: wholeLoop({ trials: [trial({ kind: 'canary', looks: [look({ decision: 'rollBack' })] })] }) }],
    ['retirement', { loop: wholeLoop({ retirements: [] }) }],
  ] as [string, Partial<Seen>][])('fails when the promise about %s is broken', (name, broken) => {
    const report = buildReport({ ...seen(), ...broken })
    expect(report.checks.find((check) => check.name === name)).toMatchObject({ passed: false })
    expect(report.passed).toBe(false)
    expect(summarise(report, 'r.json')).toMatch(new RegExp(`FAILED +${name}`))
  })

  it('gives each version its reason and its figures against the champion', () => {
    const { versions } = buildReport(seen())
    expect(versions[1]).toMatchObject({
      ref: 'late-flight@2',
      outcome: 'spare',
      why: 'passed, but not proven better',
      championLogLoss: 0.41,
      gain: 0.001,
      gainLower: -0.001,
      cause: 'newData: 2 new files',
      asOf: '2001-02-12',
    })
    expect(versions[2]).toMatchObject({ outcome: 'rejected', why: 'gate failed', verdict: 'failed', answered: 0 })
  })

  it('shows the summary in words', () => {
    const text = summarise(buildReport(seen()), 'demo-report.json')
    expect(text).toContain('3 trained: 1 released, 1 spare, 1 rejected; 1 retired since')
    expect(text).toContain('1 by an alarm, 1 by the clock; 1 left out')
    expect(text).toContain('0 lost, 0 doubled; in the lake: 4 live, 3 shadow')
    expect(text).toMatch(/late-flight@2 +2001-03-19 {2}shadow of 100% +goes on +2,400 requests, 2,050 labels in 4\.5 s/)
    expect(text).toMatch(/2001-03-22 {2}drift of distance +tell +open {2}PSI 0\.18/)
    expect(text).toMatch(/late-flight@1 +2001-05-01 {2}cold +superseded: late-flight@3 serves instead/)
    expect(text).toMatch(/availability +promised 99\.90% +kept 100\.00% +budget left 100%/)
    expect(text).toContain('Everything was kept.')
  })

  it.each([
    ['rolled-back', 'none', { status: 'rolled-back', endedAtMs: 9, why: 'harm proven' }, 'harm proven'],
    ['stopped', 'none', { status: 'failed', endedAtMs: 9, why: 'harm in the shadow' }, 'harm in the shadow'],
    ['on-trial', 'releasing', { status: 'canary', endedAtMs: null, why: 'soaking' }, 'soaking'],
    ['waiting', 'awaiting-approval', null, 'frozen'],
    ['released', 'retired', { status: 'released', endedAtMs: 9, why: 'no harm' }, 'no harm'],
    ['spare', 'spare', null, 'frozen'],
  ])('says %s of a version that is %s', (outcome, release, its, why) => {
    const one = entry(2, 'passed', release, 'frozen')
    const releases = (its === null
      ? []
      : [{ version: one.version.ref, kind: 'release', leadTimeMs: null, ...its }]) as unknown as Seen['releases']
    const report = buildReport({ ...seen(), versions: [entry(1, 'passed', 'live', 'x'), one], releases })
    expect(report.versions[1]).toMatchObject({ outcome, why })
  })

  it('keeps the loop with its reasons', () => {
    const report = buildReport(seen())
    expect(report.triggers).toMatchObject({ fired: { alarm: 1, cron: 1 }, skipped: 1 })
    expect(report.triggers.firings[0]).toEqual({
      at: '2001-02-12',
      trigger: 'mondays',
      kind: 'cron',
      why: 'due',
      run: 'run-1',
    })
    expect(report.trials).toMatchObject([
      {
        kind: 'shadow',
        seconds: 4.5,
        outcome: 'next',
        tests: [{ test: 'loss' }],
        looks: [{ at: '2001-03-22', labels: 2_050 }],
      },
      { kind: 'canary', outcome: 'promote' },
    ])
    expect(report.alarms).toMatchObject([
      { source: 'drift', subject: 'distance', raised: '2001-03-22', resolved: false },
    ])
    expect(report.versions[0]!.retired).toBe('cold (superseded): late-flight@3 serves instead')
    expect(report.requests.byOrigin).toEqual({ live: 4, shadow: 3 })
    expect(report.fault).toBeNull()
  })

  it('with a fault asks for it to be caught, and no longer for the whole loop', () => {
    const fault = { is: faults.kilometres, onsetMs: Date.UTC(2001, 2, 20), onsetAtMs: 10_000 }
    const caught = buildReport({ ...seen(), fault, requests: { ...seen().requests, sent: 4, answered: 4 } })
    expect(caught.checks.map(({ name }) => name)).toEqual([
      'books',
      'failed',
      'lost',
      'doubled',
      'different',
      'frozen',
      'labels',
      'fault',
    ])
    expect(caught.passed).toBe(true)
    expect(demoReportSchema.parse(caught)).toEqual(caught)
    expect(summarise(caught, 'r.json')).toContain('Caught by: monitor (drift of distance) on 2001-03-22')
    const missed = buildReport({ ...seen(), fault, loop: loop() })
    expect(missed.passed).toBe(false)
    expect(summarise(missed, 'r.json')).toContain('NOT CAUGHT.')
  })
})

describe('comparing what was told with what is in the lake', () => {
  it('counts ids, not rows', () => {
    expect(comparePredictions(told(), lake())).toEqual({
      acknowledged: 4,
      inLake: 4,
      lost: 0,
      doubled: 0,
      different: 0,
    })
  })

  it('takes answers as equal that are the same 32-bit number', () => {
    const exact = [{ ...told()[0]!, probability: 0.1 }]
    const stored = [{ ...lake()[0]!, probability: Math.fround(0.1) }]
    expect(comparePredictions(exact, stored).different).toBe(0)
    expect(comparePredictions(exact, [{ ...stored[0]!, probability: 0.1001 }]).different).toBe(1)
  })

  it('counts an id that two requests got as doubled', () => {
    expect(comparePredictions([...told(), told()[0]!], lake()).doubled).toBe(1)
  })

  it('does not count what was logged but never acknowledged: its client was cut off', () => {
    expect(comparePredictions(told().slice(1), lake())).toMatchObject({
      acknowledged: 3,
      inLake: 4,
      lost: 0,
      doubled: 0,
    })
  })
})

function told(): Acknowledged[] {
  const answers = [0.9, 0.1, 0.2, 0.1]
  return answers.map((probability, index) => ({
    predictionId: `id-${index}`,
    version: '2',
    probability,
    late: index === 0 ? 1 : 0,
    atMs: 11_000 + index,
    wrong: false,
  }))
}

function lake(): LakeRow[] {
  return told().map(({ late, predictionId, version, probability }) => ({
    predictionId,
    version,
    probability,
    label: late,
  }))
}

/** Three versions (released, spare, rejected), all promises kept. */
function seen(): Seen {
  const requests = promises.requestsMin
  return {
    startedAtMs: Date.UTC(2026, 0, 1),
    durationMs: 90_000,
    machine: { node: 'v24.0.0', platform: 'linux-x64', cpus: 2 },
    calendar: {
      fromMs: Date.UTC(2001, 0, 29),
      untilMs: Date.UTC(2001, 5, 30),
      days: 153,
      holds: [{ atMs: Date.UTC(2001, 1, 12), why: 'a training', ms: 7_004 }],
    },
    weeksLanded: 25,
    versions: [
      entry(1, 'passed', 'live', 'the first version to pass'),
      entry(2, 'passed', 'spare', 'passed, but not proven better'),
      entry(3, 'failed', 'none', 'gate failed'),
    ],
    releases: [{ version: 'late-flight@1', kind: 'release', leadTimeMs: 900 }] as unknown as Seen['releases'],
    loop: wholeLoop(),
    fault: null,
    requests: { sent: requests, answered: requests, failed: 0, interrupted: 0, sentWhileHeld: 1_000, sentOnTrial: 500 },
    faults: [],
    labels: { sent: 4, accepted: 4 },
    acknowledged: told(),
    lake: lake(),
    frozen: { version: 'late-flight@1', probabilities: [0.5, 0.5, 0.5, 0.5] },
  }
}

/** Two trainings, a version through shadow and canary, an alarm, a retirement. */
function wholeLoop(other: Partial<Seen['loop']> = {}): Seen['loop'] {
  return loop({
    firings: [firing('cron'), firing('alarm'), { ...firing('cron'), what: 'skipped', run: null }],
    trials: [
      trial({ looks: [look({ tests: [test({ verdict: 'open' })] })] }),
      trial({ id: 'trial-2', kind: 'canary', step: 1, weightPercent: 50, looks: [look({ decision: 'promote' })] }),
    ],
    alarms: [alarm()],
    retirements: [
      {
        version: 'late-flight@1',
        status: 'cold',
        policy: 'superseded',
        why: 'late-flight@3 serves instead',
        calendarMs: Date.UTC(2001, 4, 1),
      },
    ],
    levels: [{ name: 'availability', objective: 0.999, attained: 1, events: 4, budgetLeft: 1, why: 'nothing spent' }],
    origins: { live: 4, shadow: 3 },
    ...other,
  })
}

function firing(kind: string): Seen['loop']['firings'][number] {
  const trigger = kind === 'cron' ? 'mondays' : 'alarms'
  return { trigger, kind, what: 'fired', why: 'due', run: 'run-1', calendarMs: Date.UTC(2001, 1, 12, 4) }
}

function entry(number: number, status: string, release: string, why: string): Seen['versions'][number] {
  const ref = `late-flight@${number}`
  const champion = number === 1 ? null : 'late-flight@1'
  const figures = { championMeanLoss: 0.41, gain: 0.001, lower: -0.001, upper: 0.003 }
  return {
    version: {
      ref,
      number,
      status,
      why,
      release,
      releaseWhy: why,
      liveSinceMs: release === 'live' ? 1 : null,
      metrics: { logLoss: 0.409, auc: 0.7 },
      createdAtMs: Date.UTC(2001, 1, 12),
    },
    gate: { verdict: status, champion, checks: champion === null ? [] : [{ name: 'champion', figures }] },
    run: { cause: 'newData: 2 new files', asOfMs: Date.UTC(2001, 1, 12) },
  } as unknown as Seen['versions'][number]
}
