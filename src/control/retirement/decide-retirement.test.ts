import { describe, expect, it } from 'vitest'
import type { RetirementConfig } from '../../config/project.ts'
import {
  decideRetirement,
  mayAct,
  REVIVED_GRACE_MS,
  type RetirementQuestion,
  type RetirementView,
} from './decide-retirement.ts'
import { holders, unused } from './holders.ts'
import { newestMaturedWindow } from './matured-window.ts'
import { judgeWindow, outdatedBy, type Reevaluation } from './reevaluation.ts'
import { decideUse, isWhole, retirementMachine, type Retirement } from './retirement.ts'

const DAY_MS = 24 * 3_600_000
const NOW_MS = 100 * DAY_MS

const quiet: RetirementConfig = {
  keepLast: 0,
  maxAgeMs: null,
  idleMs: null,
  superseded: false,
  deleteAfterMs: 90 * DAY_MS,
  pinMs: 30 * DAY_MS,
  outdated: { windowMs: DAY_MS, minRows: 1, margin: 0 },
}

function viewOf(overrides: Partial<RetirementView> = {}): RetirementView {
  const number = overrides.number ?? 1
  return {
    versionId: `m@${number}`,
    number,
    retirement: null,
    heldBy: [],
    createdCalendarMs: NOW_MS - 10 * DAY_MS,
    undecided: false,
    usable: true,
    inService: false,
    everChampion: false,
    lastUsedCalendarMs: NOW_MS - 10 * DAY_MS,
    longestGapMs: 0,
    noWorse: null,
    outdated: null,
    running: [],
    read: null,
    ...overrides,
  }
}

function retirementOf(overrides: Partial<Retirement> = {}): Retirement {
  return {
    versionId: 'm@1',
    model: 'm',
    status: 'proposed',
    policy: 'superseded',
    why: 'm@9 serves instead',
    heldBy: [],
    proposedAtMs: 0,
    statusAtMs: 0,
    statusCalendarMs: NOW_MS,
    by: 'millrace',
    keptUntilCalendarMs: null,
    ...overrides,
  }
}

function decide(
  versions: RetirementView[],
  config: Partial<RetirementConfig> = {},
  rest: Partial<RetirementQuestion> = {},
) {
  const question: RetirementQuestion = {
    versions,
    champion: { versionId: 'm@9', number: 9 },
    config: { ...quiet, ...config },
    calendarMs: NOW_MS,
    frozen: null,
    ...rest,
  }
  return decideRetirement(question).map(({ view, act, why }) => ({ id: view.versionId, act: act?.kind ?? null, why }))
}

describe('policies', () => {
  it.each<[string, Partial<RetirementView>, Partial<RetirementConfig>, string | null]>([
    ['nothing is declared', {}, {}, null],
    ['a newer one serves', {}, { superseded: true }, 'm@9 serves instead'],
    ['it is the champion', { number: 9, inService: true }, { superseded: true, maxAgeMs: 1 }, null],
    ['it is what a rollback goes to', { inService: true }, { superseded: true, maxAgeMs: 1 }, null],
    ['it is newer than the champion and never served', { number: 12 }, { superseded: true }, null],
    [
      'it is newer than the champion and was rolled back',
      { number: 12, everChampion: true },
      { superseded: true },
      'm@9 serves instead',
    ],
    ['nothing is decided about it', { undecided: true }, { superseded: true, maxAgeMs: 1, idleMs: 1 }, null],
    ['nobody called it for long', {}, { idleMs: 7 * DAY_MS }, 'not called for 10.0 days'],
    ['nobody called it, but so it was before', { longestGapMs: 6 * DAY_MS }, { idleMs: 7 * DAY_MS }, null],
    ['it is old', {}, { maxAgeMs: 9 * DAY_MS }, '10.0 days old, at most 9.0 days are wanted'],
    ['it is not old enough', {}, { maxAgeMs: 11 * DAY_MS }, null],
    ['it was below the floor twice', { outdated: 'twice below' }, {}, 'twice below'],
    ['it was below the floor twice, which nobody asked', { outdated: 'twice below' }, { outdated: null }, null],
  ])('where %s', (_what, view, config, why) => {
    const [decided] = decide([viewOf(view)], config)
    expect(decided!.act).toBe(why === null ? null : 'propose')
    expect(decided!.why).toContain(why ?? '')
  })

  it('keep the newest that are out of service, those that could serve apart from those that could not', () => {
    const versions = [1, 2, 3, 4, 5].map((number) => viewOf({ number, usable: number < 3 }))
    const proposed = decide(versions, { superseded: true, keepLast: 1 }).filter((d) => d.act === 'propose')
    expect(proposed.map((d) => d.id)).toEqual(['m@1', 'm@3', 'm@4'])
  })

  it('propose nothing where nothing serves instead', () => {
    expect(decide([viewOf()], { superseded: true, maxAgeMs: 1 }, { champion: null })[0]!.act).toBeNull()
  })

  it('give what was just revived a day, also where the calendar is set back', () => {
    const revived = viewOf({ retirement: retirementOf({ status: 'kept', policy: 'use' }) })
    expect(decide([revived], { superseded: true })[0]!.act).toBeNull()
    expect(decide([revived], { superseded: true }, { calendarMs: NOW_MS - DAY_MS })[0]!.act).toBeNull()
    expect(decide([revived], { superseded: true }, { calendarMs: NOW_MS + REVIVED_GRACE_MS })[0]!.act).toBe('propose')
  })
})

describe('a proposal', () => {
  const proposed = (overrides: Partial<RetirementView> = {}, of: Partial<Retirement> = {}) =>
    viewOf({ retirement: retirementOf(of), ...overrides })

  it('is carried out where nothing holds the version', () => {
    expect(decide([proposed()], { superseded: true })[0]).toMatchObject({ act: 'drain' })
  })

  it('waits while something does, and says what', () => {
    expect(decide([proposed({ heldBy: ['alias stable'] })], { superseded: true })[0]).toMatchObject({ act: 'note' })
    const noted = proposed({ heldBy: ['alias stable'] }, { heldBy: ['alias stable'] })
    expect(decide([noted], { superseded: true })[0]).toMatchObject({ act: null, why: 'in use: alias stable' })
  })

  it('is taken back where its reason is gone', () => {
    expect(decide([proposed()], { superseded: false })[0]).toMatchObject({ act: 'keep' })
    expect(decide([proposed()], { superseded: true, keepLast: 1 })[0]).toMatchObject({ act: 'keep' })
  })

  it('of a person needs no policy', () => {
    expect(decide([proposed({}, { policy: 'person' })])[0]).toMatchObject({ act: 'drain' })
  })

  it('by age alone waits for something newer that was measured no worse', () => {
    const age = { maxAgeMs: DAY_MS }
    const old = proposed({}, { policy: 'age' })
    expect(decide([old], age)[0]).toMatchObject({
      act: null,
      why: expect.stringContaining('age alone proposes') as string,
    })
    const noWorse = { versionId: 'm@9', why: 'it passed its gate against m@1' }
    expect(decide([{ ...old, noWorse }], age)[0]).toMatchObject({
      act: 'drain',
      why: expect.stringContaining('m@9 is no worse: it passed its gate') as string,
    })
  })

  it('waits while the data is suspected', () => {
    expect(decide([proposed()], { superseded: true }, { frozen: 'suspected' })[0]).toMatchObject({
      act: null,
      why: 'suspected',
    })
  })
})

describe('what is on its way', () => {
  const on = (status: Retirement['status'], overrides: Partial<RetirementView> = {}) =>
    decide([viewOf({ retirement: retirementOf({ status }), ...overrides })], { superseded: true })[0]

  it('goes on one step at a time', () => {
    expect(on('draining')).toMatchObject({ act: 'stop' })
    expect(on('draining', { running: ['deployment-1 (draining)'] })).toMatchObject({
      act: null,
      why: 'waits for deployment-1 (draining)',
    })
    expect(on('stopped')).toMatchObject({ act: 'cool' })
    expect(on('cold')).toMatchObject({ act: null, why: expect.stringContaining('deleted at 1970-07-10') as string })
    expect(on('deleting')).toMatchObject({ act: null })
    expect(on('deleted')).toMatchObject({ act: null })
  })

  it('comes back where it is in use', () => {
    for (const status of ['draining', 'stopped', 'cold'] as const)
      expect(on(status, { heldBy: ['fallback of m'] })).toMatchObject({ act: 'revive', why: 'in use: fallback of m' })
  })

  it('is deleted after its retention, not while it may be read', () => {
    const cold = viewOf({ retirement: retirementOf({ status: 'cold' }) })
    const later = { calendarMs: NOW_MS + 90 * DAY_MS }
    expect(decide([cold], {}, later)[0]).toMatchObject({ act: 'delete', why: 'cold for 90.0 days' })
    expect(decide([{ ...cold, read: 'run-4 has ended' }], {}, later)[0]).toMatchObject({ act: null })
    expect(decide([cold], {}, { ...later, frozen: 'suspected' })[0]).toMatchObject({ act: null })
  })
})

describe('an act that was decided before', () => {
  const drain = { kind: 'drain', policy: 'age', why: 'old' } as const
  it('is left where the version has moved on, or somebody has begun to use it', () => {
    const now = { status: 'proposed', heldBy: [], isRunning: false, isProtected: false } as const
    expect(mayAct(drain, 'proposed', { ...now, heldBy: [] })).toBe(true)
    expect(mayAct(drain, 'proposed', { ...now, status: 'kept', heldBy: [] })).toBe(false)
    expect(mayAct(drain, 'proposed', { ...now, heldBy: ['release-3 (queued)'] })).toBe(false)
    const stop = { ...drain, kind: 'stop' } as const
    expect(mayAct(stop, 'draining', { ...now, status: 'draining', heldBy: [], isRunning: true })).toBe(false)
    expect(mayAct({ ...drain, kind: 'revive' }, 'cold', { ...now, status: 'cold', heldBy: [] })).toBe(false)
  })
})

describe('a person’s protection', () => {
  const kept = (keptUntilCalendarMs: number | null) =>
    viewOf({
      outdated: 'twice below',
      heldBy: ['kept by ann: audit'],
      retirement: retirementOf({ status: 'kept', policy: 'person', keptUntilCalendarMs }),
    })

  it('stands above every policy until its time, and is not lost to a proposal', () => {
    expect(decide([kept(null)])[0]).toMatchObject({ act: null, why: 'in use: kept by ann: audit' })
    expect(decide([kept(NOW_MS + 1)])[0]).toMatchObject({ act: null })
    expect(decide([kept(NOW_MS)])[0]).toMatchObject({ act: 'propose' })
  })

  it('also when it came after the look', () => {
    const act = { kind: 'propose', policy: 'outdated', why: 'twice below' } as const
    const now = { status: 'kept', heldBy: ['kept by ann'], isRunning: false, isProtected: true } as const
    expect(mayAct(act, 'kept', { ...now, heldBy: [...now.heldBy] })).toBe(false)
    expect(mayAct(act, 'kept', { ...now, heldBy: [...now.heldBy], isProtected: false })).toBe(true)
  })
})

describe('the in-use guard', () => {
  it('says of each use what it is', () => {
    const facts = {
      ...unused('m@1'),
      routes: [
        { endpoint: 'm', weightPercent: 90, mirror: false },
        { endpoint: 'm', weightPercent: 50, mirror: true },
      ],
      releases: [{ id: 'release-4', status: 'canary', as: 'champion' as const }],
      trials: ['trial-2'],
      evaluations: ['evaluation-3'],
      aliases: ['previous', 'stable'],
      fallbackOf: ['other'],
      pins: [
        { caller: 'desk', lastCalendarMs: NOW_MS - DAY_MS },
        { caller: 'gone', lastCalendarMs: NOW_MS - 40 * DAY_MS },
      ],
      lastHealthyOf: 'm',
      lostTo: 'freeze-1',
      readers: ['run-7, which is still under way'],
      inFlight: 3,
      keptBy: { by: 'ann', why: 'audit', untilCalendarMs: NOW_MS + 1 },
    }
    expect(holders(facts, NOW_MS, 30 * DAY_MS)).toEqual([
      'live traffic on m (90%)',
      'copies of live traffic on m',
      'release-4 (canary) goes back to it when it fails',
      'trial-2 is running',
      'evaluation-3 is measuring it',
      'alias previous (what a rollback goes to)',
      'alias stable',
      'fallback of other',
      'called by its number by desk, last at 1970-04-10T00:00Z',
      'the last healthy version of m',
      "freeze-1: kept to look into while the rollback's freeze lasts",
      'read by run-7, which is still under way',
      '3 requests in flight',
      'kept by ann until 1970-04-11T00:00Z: audit',
    ])
  })

  it('holds nothing that is not used, nor what a person protected until now', () => {
    expect(holders(unused('m@1'), NOW_MS, DAY_MS)).toEqual([])
    const keptBy = { by: 'ann', why: 'audit', untilCalendarMs: NOW_MS }
    expect(holders({ ...unused('m@1'), keptBy }, NOW_MS, DAY_MS)).toEqual([])
  })

  it('lets a use begin on everything whose files are there', () => {
    for (const status of retirementMachine.states) expect(decideUse(status) !== 'refuse').toBe(isWhole(status))
  })
})

describe('a labelled window', () => {
  it.each([
    [10.5, 1, 1, 8],
    [10, 1, 1, 8],
    [9.99, 1, 1, 7],
    [10, 7, 1, 0],
    [1, 1, 1, null],
  ])('on day %s with windows of %s days and labels after %s is that of day %s', (now, window, delay, start) => {
    const found = newestMaturedWindow(now * DAY_MS, window * DAY_MS, delay * DAY_MS)
    expect(found).toBe(start === null ? null : start * DAY_MS)
  })

  const versions = (...losses: (number | null)[]) =>
    losses.map((meanLoss, i) => ({
      versionId: `m@${i + 1}`,
      rows: 900,
      meanLoss,
      why: meanLoss === null ? 'no such column' : null,
    }))
  const judge = (losses: (number | null)[], rest: Partial<Parameters<typeof judgeWindow>[0]> = {}) => {
    const judged = judgeWindow({
      versions: versions(...losses),
      rows: 900,
      minRows: 500,
      constantLoss: 0.69,
      margin: 0.01,
      dataTrouble: null,
      ...rest,
    })
    return { ...judged, verdicts: judged.verdicts.map((v) => v.verdict) }
  }

  it('fails what is worse than the constant by more than the margin', () => {
    expect(judge([0.5, 0.71, 0.7])).toMatchObject({ dataPassed: true, verdicts: ['passed', 'failed', 'passed'] })
  })

  it('suspects the data where all fail together, also where there is but one', () => {
    expect(judge([0.9, 0.71])).toMatchObject({ dataPassed: false, verdicts: ['suspected', 'suspected'] })
    expect(judge([0.9]).suspected).toContain('every version that was measured (1) is below the floor 0.7000')
    expect(judge([0.9, null])).toMatchObject({ dataPassed: false, verdicts: ['suspected', 'error'] })
  })

  it('judges nobody by data in doubt, or by too little of it', () => {
    expect(judge([0.5, 0.9], { dataTrouble: 'alert-3 is open' })).toMatchObject({
      dataPassed: false,
      suspected: 'alert-3 is open',
      verdicts: ['passed', 'suspected'],
    })
    expect(judge([0.5, 0.9], { rows: 20 })).toMatchObject({
      dataPassed: false,
      suspected: null,
      verdicts: ['insufficient', 'insufficient'],
    })
  })

  const window = (day: number, verdict: Reevaluation['verdict'], dataPassed = true): Reevaluation => ({
    model: 'm',
    versionId: 'm@1',
    windowMs: day * DAY_MS,
    rows: 900,
    meanLoss: 0.8,
    floor: 0.7,
    verdict,
    why: `0.8 of 0.7 on day ${day}`,
    dataPassed,
    atMs: 0,
  })

  it('makes a version outdated only together with the one right before it', () => {
    expect(outdatedBy([window(3, 'failed'), window(4, 'failed')], 'm@1', DAY_MS)).toContain(
      'on day 3; 0.8 of 0.7 on day 4',
    )
    expect(outdatedBy([window(4, 'failed')], 'm@1', DAY_MS)).toBeNull()
    expect(outdatedBy([window(2, 'failed'), window(4, 'failed')], 'm@1', DAY_MS)).toBeNull()
    expect(outdatedBy([window(3, 'passed'), window(4, 'failed')], 'm@1', DAY_MS)).toBeNull()
    expect(outdatedBy([window(3, 'suspected', false), window(4, 'failed')], 'm@1', DAY_MS)).toBeNull()
    expect(outdatedBy([window(3, 'failed'), window(4, 'failed')], 'm@2', DAY_MS)).toBeNull()
  })
})
