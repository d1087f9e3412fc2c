import type { GateView } from '../../../src/surface/api/gate-schemas.ts'
import type { ReleaseView } from '../../../src/surface/api/release-schemas.ts'
import type { RunSummary } from '../../../src/surface/api/run-schemas.ts'
import type { VersionSummary } from '../../../src/surface/api/version-schemas.ts'
import { reportFault } from './fault-report.ts'
import type { Fault } from './faults.ts'
import type { Acknowledged } from './ledger.ts'
import type { LoopFacts, RetirementFacts } from './loop-facts.ts'
import { describeLoop } from './loop-report.ts'
import { measure } from './quality.ts'
import type { DemoReport, VersionReport } from './report-schema.ts'

/** From what was seen to what is reported: pure, so that the honesty of the figures can be tested. */

/** What the demo promises (its checks). */
export const promises = { requestsMin: 30_000, improvementMin: 0.008 }

export interface Seen {
  startedAtMs: number
  durationMs: number
  machine: DemoReport['machine']
  calendar: { fromMs: number; untilMs: number; days: number; holds: { atMs: number; why: string; ms: number }[] }
  weeksLanded: number
  /** Oldest first, with the gate's word on each. */
  versions: { version: VersionSummary; gate: GateView | null; run: RunSummary | null }[]
  releases: ReleaseView[]
  loop: LoopFacts
  /** What was replayed on purpose; null: nothing. */
  fault: { is: Fault; onsetMs: number; onsetAtMs: number } | null
  requests: Omit<DemoReport['requests'], 'byOrigin'>
  /** The first few failed or interrupted requests. */
  faults: string[]
  labels: { sent: number; accepted: number }
  acknowledged: Acknowledged[]
  lake: LakeRow[]
  /** `model@number` of the first released version and what it says to each row of the lake, in order. */
  frozen: { version: string; probabilities: number[] }
}

/** One live prediction as it is in the lake. */
export interface LakeRow {
  predictionId: string
  version: string
  probability: number
  /** Null: no label has been joined. */
  label: number | null
}

export function buildReport(seen: Seen): DemoReport {
  const versions = seen.versions.map((entry) => describeVersion(entry, seen))
  const predictions = comparePredictions(seen.acknowledged, seen.lake)
  const quality = compareQuality(seen)
  const facts = {
    startedAt: new Date(seen.startedAtMs).toISOString(),
    durationSeconds: seconds(seen.durationMs),
    machine: seen.machine,
    calendar: describeCalendar(seen.calendar),
    weeksLanded: seen.weeksLanded,
    versions,
    totals: countOutcomes(versions, seen.loop.retirements),
    ...describeLoop(seen.loop),
    fault: describeFault(seen),
    requests: { ...seen.requests, byOrigin: seen.loop.origins },
    faults: seen.faults,
    labels: { ...seen.labels, matched: seen.lake.filter(({ label }) => label !== null).length },
    predictions,
    quality,
    leadTimes: summariseLeadTimes(versions),
  }
  const checks = judge(facts)
  return { ...facts, checks, passed: checks.every(({ passed }) => passed) }
}

function describeVersion({ version, gate, run }: Seen['versions'][number], seen: Seen): VersionReport {
  const figures = gate?.checks.find(({ name }) => name === 'champion')?.figures ?? {}
  const number = (value: unknown) => (typeof value === 'number' ? value : null)
  const release = seen.releases.find((one) => one.version === version.ref && one.kind === 'release')
  const outcome = outcomeOf(version, release)
  const retirement = seen.loop.retirements.find((one) => one.version === version.ref && one.status !== 'kept')
  return {
    ref: version.ref,
    outcome,
    why: reasonOf(outcome, version, release),
    cause: run?.cause ?? 'imported',
    asOf: isoDate(run?.asOfMs ?? version.createdAtMs),
    verdict: gate?.verdict ?? null,
    logLoss: number(version.metrics?.['logLoss']),
    auc: number(version.metrics?.['auc']),
    champion: gate?.champion ?? null,
    championLogLoss: number(figures['championMeanLoss']),
    gain: number(figures['gain']),
    gainLower: number(figures['lower']),
    gainUpper: number(figures['upper']),
    leadTimeMs: release?.leadTimeMs ?? null,
    answered: seen.acknowledged.filter((one) => one.version === String(version.number)).length,
    retired: retirement === undefined ? null : `${retirement.status} (${retirement.policy}): ${retirement.why}`,
  }
}

/** What was champion once counts as released, also where it lost the traffic later. */
function outcomeOf(version: VersionSummary, release: ReleaseView | undefined): VersionReport['outcome'] {
  if (version.liveSinceMs !== null || ['live', 'warm', 'retired'].includes(version.release)) return 'released'
  if (version.release === 'awaiting-approval') return 'waiting'
  if (release?.status === 'rolled-back') return 'rolled-back'
  if (release !== undefined && release.endedAtMs === null) return 'on-trial'
  if (release !== undefined) return 'stopped'
  return version.status === 'passed' ? 'spare' : 'rejected'
}

/** Of whoever had the last word on it. */
function reasonOf(
  outcome: VersionReport['outcome'],
  version: VersionSummary,
  release: ReleaseView | undefined,
): string {
  const byGate = version.why ?? version.releaseWhy
  const byRelease = release?.why ?? version.releaseWhy ?? version.why
  const why = outcome === 'rejected' ? byGate : outcome === 'spare' ? (version.releaseWhy ?? byGate) : byRelease
  return why ?? 'none given'
}

function describeCalendar({ fromMs, untilMs, days, holds }: Seen['calendar']): DemoReport['calendar'] {
  const described = holds.map(({ atMs, why, ms }) => ({ at: isoDate(atMs), why, seconds: seconds(ms) }))
  const heldSeconds = seconds(holds.reduce((sum, { ms }) => sum + ms, 0))
  return { from: isoDate(fromMs), until: isoDate(untilMs), days, heldSeconds, holds: described }
}

function countOutcomes(versions: VersionReport[], retirements: RetirementFacts[]): DemoReport['totals'] {
  const having = (outcome: VersionReport['outcome']) => versions.filter((version) => version.outcome === outcome).length
  return {
    trained: versions.length,
    released: having('released'),
    rolledBack: having('rolled-back'),
    stopped: having('stopped'),
    onTrial: having('on-trial'),
    waiting: having('waiting'),
    spare: having('spare'),
    rejected: having('rejected'),
    retired: retirements.filter(({ status }) => ['cold', 'deleting', 'deleted'].includes(status)).length,
  }
}

function describeFault(seen: Seen): DemoReport['fault'] {
  if (seen.fault === null) return null
  const { is: fault, onsetMs, onsetAtMs } = seen.fault
  const { releases, loop, acknowledged } = seen
  const versions = seen.versions.map(({ version, gate, run }) => ({
    version,
    gate,
    asOfMs: run?.asOfMs ?? version.createdAtMs,
  }))
  return reportFault({ fault, onsetMs, onsetAtMs, versions, releases, loop, acknowledged })
}

/** What clients were told against what the lake holds. */
export function comparePredictions(acknowledged: Acknowledged[], lake: LakeRow[]): DemoReport['predictions'] {
  const inLake = new Map(lake.map((row) => [row.predictionId, row]))
  const told = new Map(acknowledged.map((one) => [one.predictionId, one]))
  const isDifferent = (one: Acknowledged, row: LakeRow) =>
    row.version !== one.version || Math.fround(row.probability) !== Math.fround(one.probability)
  return {
    acknowledged: told.size,
    inLake: inLake.size,
    lost: [...told.keys()].filter((id) => !inLake.has(id)).length,
    // The same id given to two requests would also be one prediction too many.
    doubled: lake.length - inLake.size + (acknowledged.length - told.size),
    different: [...told.values()].filter((one) => {
      const row = inLake.get(one.predictionId)
      return row !== undefined && isDifferent(one, row)
    }).length,
  }
}

function compareQuality(seen: Seen): DemoReport['quality'] {
  const { lake, acknowledged, frozen } = seen
  const frozenSaid = new Map(lake.map((row, index) => [row.predictionId, frozen.probabilities[index]!]))
  const both = acknowledged.filter(({ predictionId }) => frozenSaid.has(predictionId))
  const late = both.map((one) => one.late)
  const released = measure(
    late,
    both.map(({ probability }) => probability),
  )
  const first = measure(
    late,
    both.map(({ predictionId }) => frozenSaid.get(predictionId)!),
  )
  return {
    released,
    frozen: { version: frozen.version, ...first, unlike: countUnlike(seen) },
    improvement: first.logLoss - released.logLoss,
  }
}

/** The first version, run by itself, must say what it said when it served: else the comparison is with something else. */
function countUnlike({ lake, frozen }: Seen): number {
  const number = frozen.version.split('@')[1]
  return lake.filter(
    (row, index) =>
      row.version === number && Math.abs(row.probability - frozen.probabilities[index]!) > PROBABILITY_TOLERANCE,
  ).length
}

/** Batches of other sizes add up in another order. */
const PROBABILITY_TOLERANCE = 1e-5

function summariseLeadTimes(versions: VersionReport[]): DemoReport['leadTimes'] {
  const times = versions.flatMap(({ leadTimeMs }) => (leadTimeMs === null ? [] : [leadTimeMs])).sort((a, b) => a - b)
  const middle = Math.floor((times.length - 1) / 2)
  return { count: times.length, medianMs: times[middle] ?? null, maxMs: times.at(-1) ?? null }
}

type Check = DemoReport['checks'][number]

function judge(facts: Omit<DemoReport, 'checks' | 'passed'>): Check[] {
  const whole = facts.fault === null ? [checkRequests(facts), checkImprovement(facts), ...checkLoop(facts)] : []
  const caught = facts.fault === null ? [] : [checkFault(facts.fault)]
  return [...checkBooks(facts), ...whole, ...caught]
}

/** What holds whatever is replayed. */
function checkBooks({ requests, predictions, labels, quality }: Omit<DemoReport, 'checks' | 'passed'>): Check[] {
  const none = (name: string, found: number, what: string) => ({ name, passed: found === 0, why: `${found} ${what}` })
  return [
    {
      name: 'books',
      passed: requests.sent === requests.answered + requests.failed + requests.interrupted,
      why: `${requests.sent} sent = ${requests.answered} answered + ${requests.failed} failed + ${requests.interrupted} interrupted`,
    },
    none('failed', requests.failed, 'requests failed'),
    none('lost', predictions.lost, 'acknowledged predictions are not in the lake'),
    none('doubled', predictions.doubled, 'predictions are in the lake more than once'),
    none('different', predictions.different, 'predictions are in the lake with another answer than was given'),
    none('frozen', quality.frozen.unlike, `answers of ${quality.frozen.version} are others when it is run by itself`),
    {
      name: 'labels',
      passed: labels.accepted === labels.sent && labels.matched === labels.sent,
      why: `${labels.sent} sent, ${labels.accepted} accepted, ${labels.matched} joined with their prediction`,
    },
  ]
}

function checkRequests({ requests }: Pick<DemoReport, 'requests'>): Check {
  return {
    name: 'requests',
    passed: requests.sent >= promises.requestsMin,
    why: `${requests.sent} sent, at least ${promises.requestsMin} promised`,
  }
}

function checkImprovement({ quality }: Pick<DemoReport, 'quality'>): Check {
  return {
    name: 'improvement',
    passed: quality.improvement >= promises.improvementMin,
    why:
      `log loss ${quality.released.logLoss.toFixed(4)} against ${quality.frozen.logLoss.toFixed(4)} of ` +
      `${quality.frozen.version} left as it was: better by ${quality.improvement.toFixed(4)}, ${promises.improvementMin} promised`,
  }
}

/** Each part of the loop has been at work. */
function checkLoop({ triggers, trials, totals }: Omit<DemoReport, 'checks' | 'passed'>): Check[] {
  const some = (name: string, found: number, what: string) => ({ name, passed: found > 0, why: `${found} ${what}` })
  const promoted = trials.filter(({ kind, outcome }) => kind === 'canary' && outcome === 'promote').length
  return [
    some('schedule', triggers.fired['cron'] ?? 0, 'trainings by the clock'),
    some('alarm', triggers.fired['alarm'] ?? 0, 'trainings by an alarm'),
    some('canary', promoted, 'versions promoted after shadow and canary'),
    some('retirement', totals.retired, 'versions retired'),
  ]
}

function checkFault({ caughtBy, expected, check, requestsUntilCaught }: NonNullable<DemoReport['fault']>): Check {
  const where = `${caughtBy} (${check}) after ${requestsUntilCaught} requests`
  return {
    name: 'fault',
    passed: caughtBy !== 'not caught',
    why: caughtBy === 'not caught' ? 'not caught' : `caught by ${where}; expected: ${expected}`,
  }
}

const seconds = (ms: number) => Math.round(ms / 10) / 100

const isoDate = (timeMs: number) => new Date(timeMs).toISOString().slice(0, 10)
