import { answered, compareArms, figure } from './canary-tests.ts'
import {
  demandsOf,
  trialAfter,
  type Look,
  type TestFigures,
  type TrialDemands,
  type TrialPlan,
  type TrialSeen,
} from './trial.ts'

/** Everything that is known when a trial is looked at. */
export interface CanaryQuestion {
  plan: TrialPlan
  /** Of this release, in order; the last one runs. */
  trials: TrialSeen[]
  /** The look before; null: none. */
  before: Look | null
  /** Ready replicas; null: not known yet, as after a restart. */
  championReady: number | null
  /** For how long the challenger has had no ready replica, as far as it was watched; 0: it has one. */
  challengerDownMs: number
  /** Since a gateway last counted anything for the trial, as far as it was watched. */
  quietMs: number
  /** Age of what was read of the lake; null: never read. */
  figuresAgeMs: number | null
  /** Why the lake could not be read; null: it could. */
  figuresWhy: string | null
  nowMs: number
}

/** Without a ready replica for so long, a challenger has shown enough. */
export const CHALLENGER_DOWN_MAX_MS = 60_000
/** No request for so long is said. */
const QUIET_MS = 30_000
/** Figures of the lake that are older than this prove nothing about now. */
export const FIGURES_AGE_MAX_MS = 60_000
/** Of the requests that must be counted, so many must have reached the lake, of those that are logged. */
const LOGGED_SHARE_MIN = 0.5
/** With more errors than this, the challenger's being no worse than a champion in trouble lets nobody through. */
const ERROR_RATE_MAX = 0.05
const ERRORS_MIN = 5

/**
 * What becomes of a trial, at any moment: pure, and the same question has the same answer.
 *
 *   harm proven             back to the champion, once that has a ready replica (a shadow ends at once)
 *   champion without one    nothing is decided, and the shares stay: the challenger may be all that answers
 *   not long enough         waits
 *   too little evidence     waits; after the longest time it is held, and goes on as soon as there is enough
 *   enough, without harm    the next step, after the last one all traffic
 *
 * Without data nothing ever goes on.
 */
export function decideCanary(question: CanaryQuestion): Look {
  const tests = compareArms(question.trials, question.plan)
  const harm = question.before?.harm ?? harmOf(question, tests)
  const look: MakeLook = (decision, reason, why, missing = []) => ({
    decision,
    reason,
    why,
    missing,
    tests,
    ...factsOf(question),
    harm,
  })
  if (harm !== null) return decideHarm(question, harm, look)
  const { trial } = current(question)
  const demands = demandsOf(question.plan, trial)
  const late = isLate(question, demands)
  const lacking = (reason: Look['reason'], missing: string[]) =>
    late
      ? look(
          'hold',
          reason,
          `${duration(demands.maxTimeMs)} are over and it is not decided: ${missing.join('; ')}`,
          missing,
        )
      : look('wait', reason, missing.join('; '), missing)
  if (question.championReady === 0)
    return lacking('championDown', [
      `${trial.championId} has no ready replica: ${trial.challengerId} keeps ${trial.kind === 'shadow' ? 'its copies' : `its ${trial.weightPercent}%`}, and nothing is decided against a champion that is down`,
    ])
  const soak = soakLeft(question, demands)
  if (soak !== null) return look('wait', 'soaking', soak, [soak])
  const found = missingEvidence(question, demands, tests)
  if (found !== null) return lacking(found.reason, found.missing)
  const last = trialAfter(question.plan, trial) === null
  return look(last ? 'promote' : 'next', 'passed', passedText(question, tests))
}

type MakeLook = (decision: Look['decision'], reason: Look['reason'], why: string, missing?: string[]) => Look

function decideHarm(question: CanaryQuestion, harm: string, look: MakeLook): Look {
  const { trial } = current(question)
  // A shadow never had traffic to give back.
  if (trial.kind === 'shadow' || (question.championReady ?? 0) > 0) return look('rollBack', 'harm', harm)
  const wait = `${trial.championId} has no ready replica to take the traffic back`
  return look('wait', 'harmWithoutChampion', `${harm}; but ${wait}`, [wait])
}

/** The first comparison that proves harm, in words; or that it does not answer at all. */
function harmOf({ trials, challengerDownMs }: CanaryQuestion, tests: TestFigures[]): string | null {
  const worse = tests.filter(({ verdict }) => verdict === 'harm')
  if (worse.length > 0) return `harm proven: ${worse.map(({ test, why }) => `${test}: ${why}`).join('; ')}`
  if (challengerDownMs < CHALLENGER_DOWN_MAX_MS) return null
  return `${trials.at(-1)!.trial.challengerId} has had no ready replica for ${duration(challengerDownMs)}`
}

const current = ({ trials }: CanaryQuestion): TrialSeen => trials.at(-1)!

/** Of the whole canary; a shadow has a time of its own. */
function isLate(question: CanaryQuestion, { maxTimeMs }: TrialDemands): boolean {
  const { kind } = current(question).trial
  const same = question.trials.filter(({ trial }) => trial.kind === kind)
  return same.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0) >= maxTimeMs
}

function soakLeft(question: CanaryQuestion, { soakMs }: TrialDemands): string | null {
  const { elapsedMs, challenger } = current(question)
  if (elapsedMs >= soakMs) return null
  return `soaking: ${duration(elapsedMs)} of ${duration(soakMs)}, ${challenger.requests} requests${quietText(question)}`
}

/** What keeps it from being judged to have gone well; null: nothing. */
function missingEvidence(
  question: CanaryQuestion,
  demands: TrialDemands,
  tests: TestFigures[],
): { reason: Look['reason']; missing: string[] } | null {
  const requests = answered(current(question).challenger)
  if (requests < demands.minRequests) {
    const counted = `${requests} of ${demands.minRequests} requests answered by ${current(question).trial.challengerId}`
    return { reason: requests === 0 ? 'noTraffic' : 'fewRequests', missing: [`${counted}${quietText(question)}`] }
  }
  const unmeasured = missingMeasurement(question, demands)
  if (unmeasured !== null) return { reason: 'notMeasured', missing: [unmeasured] }
  const labels = missingLabels(question, demands, tests)
  if (labels !== null) return { reason: 'fewLabels', missing: [labels] }
  const failing = bothFailing(current(question))
  return failing === null ? null : { reason: 'bothFailing', missing: [failing] }
}

/** Predictions can only be compared once they are in the lake. */
function missingMeasurement(question: CanaryQuestion, { minRequests }: TrialDemands): string | null {
  const { plan, figuresAgeMs, figuresWhy } = question
  if (plan.loggedPercent === 0) return null
  if (figuresWhy !== null) return `the lake could not be read: ${figuresWhy}`
  if (figuresAgeMs === null) return 'predictions have not been read from the lake yet'
  if (figuresAgeMs > FIGURES_AGE_MAX_MS)
    return `what was read from the lake is ${duration(figuresAgeMs)} old, which says nothing about now`
  const wanted = Math.ceil((minRequests * LOGGED_SHARE_MIN * plan.loggedPercent) / 100)
  const inLake = current(question).figures?.challenger.requests ?? 0
  return inLake >= wanted ? null : `${inLake} of at least ${wanted} of its predictions have reached the lake`
}

/** Labels are demanded of the whole canary, before its last step ends; of a shadow, before it does. */
function missingLabels(question: CanaryQuestion, { minLabels }: TrialDemands, tests: TestFigures[]): string | null {
  if (minLabels === 0) return null
  const { trial } = current(question)
  if (trial.kind === 'canary' && trialAfter(question.plan, trial) !== null) return null
  const labelled = labelsOf(question)
  const loss = tests.find(({ test }) => test === 'loss')
  if (labelled >= minLabels || loss?.verdict === 'fine') return null
  const why = loss?.verdict === 'off' ? ` (${loss.why})` : ''
  return `${labelled} of ${minLabels} labelled requests of ${trial.challengerId}${why}`
}

function labelsOf(question: CanaryQuestion): number {
  const { kind } = current(question).trial
  const same = question.trials.filter(({ trial }) => trial.kind === kind)
  return same.reduce((sum, { figures }) => sum + (figures?.challenger.losses.n ?? 0), 0)
}

/** A champion in trouble makes the challenger look good beside it. */
function bothFailing({ challenger, champion, trial }: TrialSeen): string | null {
  const requests = answered(challenger)
  if (challenger.failed < ERRORS_MIN || challenger.failed / requests <= ERROR_RATE_MAX) return null
  return `${challenger.failed} of ${requests} requests of ${trial.challengerId} failed, of ${trial.championId} ${champion.failed} of ${answered(champion)}: being no worse than that lets nobody through`
}

function passedText(question: CanaryQuestion, tests: TestFigures[]): string {
  const { trial, challenger, elapsedMs } = current(question)
  const proven = tests.filter(({ verdict }) => verdict === 'fine').map(({ test, why }) => `${test}: ${why}`)
  const open = tests.filter(({ verdict }) => verdict === 'open').map(({ test }) => test)
  const off = tests.filter(({ verdict }) => verdict === 'off').map(({ test, why }) => `${test} (${why})`)
  const parts = [
    `${describe(trial)}: ${challenger.requests} requests and ${labelsOf(question)} labels in ${duration(elapsedMs)} without harm`,
    ...(proven.length > 0 ? [`no worse than ${trial.championId}, proven: ${proven.join('; ')}`] : []),
    ...(open.length > 0 ? [`nothing against it in ${open.join(', ')}`] : []),
    ...(off.length > 0 ? [`not compared: ${off.join(', ')}`] : []),
  ]
  return parts.join('; ')
}

function factsOf(question: CanaryQuestion): Pick<Look, 'atMs' | 'elapsedMs' | 'measuredAtMs' | 'requests' | 'labels'> {
  const { elapsedMs, challenger } = current(question)
  const { nowMs, figuresAgeMs } = question
  return {
    atMs: nowMs,
    elapsedMs: Math.round(elapsedMs),
    measuredAtMs: figuresAgeMs === null ? null : Math.round(nowMs - figuresAgeMs),
    requests: challenger.requests,
    labels: labelsOf(question),
  }
}

const describe = ({ kind, weightPercent }: TrialSeen['trial']) =>
  kind === 'shadow' ? `shadow of ${weightPercent}%` : `canary at ${weightPercent}%`

const quietText = ({ quietMs }: CanaryQuestion) => (quietMs < QUIET_MS ? '' : `, none counted for ${duration(quietMs)}`)

/** 45 s, 12 min, 3.5 h, 2 days */
function duration(ms: number): string {
  const units: [string, number][] = [
    ['days', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
  ]
  const unit = units.find(([, size]) => ms >= 2 * size)
  return unit === undefined ? `${figure(ms / 1_000)} s` : `${figure(ms / unit[1])} ${unit[0]}`
}
