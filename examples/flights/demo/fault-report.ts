import type { GateView } from '../../../src/surface/api/gate-schemas.ts'
import type { ReleaseView } from '../../../src/surface/api/release-schemas.ts'
import type { VersionSummary } from '../../../src/surface/api/version-schemas.ts'
import type { Fault } from './faults.ts'
import type { Acknowledged } from './ledger.ts'
import type { LoopFacts, TestFacts, TrialFacts } from './loop-facts.ts'
import type { DemoReport } from './report-schema.ts'

/**
 * Who caught the fault that was replayed, from Millrace's own rows: gates, trials and alarms after its onset. The demo
 * knows the fault and so which versions and answers are bad; it does not know, and does not say, what is found.
 */

export interface FaultSeen {
  fault: Fault
  onsetMs: number
  /** Real time. */
  onsetAtMs: number
  /** Oldest first, with the gate's word on each. */
  versions: { version: VersionSummary; gate: GateView | null; asOfMs: number }[]
  releases: ReleaseView[]
  loop: Pick<LoopFacts, 'trials' | 'alarms'>
  acknowledged: Acknowledged[]
}

/** One moment at which something in Millrace spoke up. */
export interface Catch {
  by: 'gate' | 'shadow' | 'canary' | 'monitor'
  atMs: number
  calendarMs: number
  version: string | null
  check: string
  why: string
  figures: Record<string, unknown>
  /** When the route gave all traffic back; null: it never had to. */
  routeBackAtMs: number | null
}

export function reportFault(seen: FaultSeen): NonNullable<DemoReport['fault']> {
  const { fault, onsetMs, onsetAtMs, acknowledged } = seen
  const faulty = faultyVersions(seen)
  const caught = catchesOf(seen)[0] ?? null
  const bad = acknowledged.filter((one) => one.wrong || faulty.has(`@${one.version}`))
  const until = (atMs: number) => (one: Acknowledged) => one.atMs >= onsetAtMs && one.atMs <= atMs
  return {
    name: fault.name,
    what: fault.title,
    onset: isoDay(onsetMs),
    expected: fault.expected,
    caughtBy: caught?.by ?? 'not caught',
    check: caught?.check ?? null,
    why: caught?.why ?? 'No gate, trial or alarm of Millrace spoke up about it.',
    figures: figuresOnly(caught?.figures ?? {}),
    version: caught?.version ?? null,
    faultyVersions: [...faulty.values()],
    caughtOn: caught === null ? null : isoDay(caught.calendarMs),
    requestsUntilCaught: caught === null ? null : acknowledged.filter(until(caught.atMs)).length,
    requestsAfterOnset: acknowledged.filter((one) => one.atMs >= onsetAtMs).length,
    badAnswersUntilCaught: caught === null ? null : bad.filter(until(caught.atMs)).length,
    badAnswers: bad.length,
    proofToRouteBackMs: routeBackMs(caught),
    lastBadAnswerAfterProofMs: fault.request === null ? lastAfter(bad, caught) : null,
  }
}

/** In the order in which they came. */
export function catchesOf(seen: FaultSeen): Catch[] {
  const faulty = new Set(faultyVersions(seen).values())
  return [...gateCatches(seen, faulty), ...trialCatches(seen, faulty), ...alarmCatches(seen, faulty)].sort(
    (a, b) => a.atMs - b.atMs,
  )
}

/** Versions that were trained by the faulty code, by `@number`. */
function faultyVersions({ fault, onsetMs, versions }: FaultSeen): Map<string, string> {
  const trained = fault.commit.length === 0 ? [] : versions.filter(({ asOfMs }) => asOfMs >= onsetMs)
  return new Map(trained.map(({ version }) => [`@${version.number}`, version.ref]))
}

function gateCatches({ versions }: FaultSeen, faulty: Set<string>): Catch[] {
  return versions.flatMap(({ version, gate, asOfMs }) => {
    if (!faulty.has(version.ref) || gate === null || gate.verdict === 'passed') return []
    if (gate.decidedAtMs === null) return []
    const failed = gate.checks.filter(({ verdict }) => !['passed', 'skipped', 'warning'].includes(verdict))
    return [
      {
        by: 'gate' as const,
        atMs: gate.decidedAtMs,
        calendarMs: asOfMs,
        version: version.ref,
        check: failed.map(({ name }) => name).join(', '),
        why: gate.why,
        figures: Object.assign({}, ...failed.map(({ figures }) => figures)) as Record<string, unknown>,
        routeBackAtMs: null,
      },
    ]
  })
}

/** A trial that ended for harm. */
function trialCatches({ loop, releases }: FaultSeen, faulty: Set<string>): Catch[] {
  return loop.trials.flatMap((trial) => {
    const look = trial.looks.find(({ decision }) => decision === 'rollBack')
    if (!faulty.has(trial.version) || look === undefined) return []
    const release = releases.find(({ id }) => id === trial.release)
    const proven = look.tests.filter(({ verdict }) => verdict === 'harm')
    return [
      {
        by: trial.kind,
        atMs: look.atMs,
        calendarMs: look.calendarMs,
        version: trial.version,
        check: proven.map(({ test }) => test).join(', '),
        why: look.why,
        figures: { requests: look.requests, labels: look.labels, ...figuresOfTest(proven[0]) },
        routeBackAtMs: endOf(trial, release),
      },
    ]
  })
}

const endOf = (trial: TrialFacts, release: ReleaseView | undefined) =>
  trial.kind === 'shadow' ? null : (trial.endedAtMs ?? release?.endedAtMs ?? null)

function figuresOfTest(test: TestFacts | undefined): Record<string, unknown> {
  if (test === undefined) return {}
  const { value, low, high, eValue, limit } = test
  return { value, low, high, eValue, limit }
}

/** Of a broken application: alarms about what it broke, or about answers; of a bad version: alarms about that. */
function alarmCatches({ fault, onsetAtMs, loop }: FaultSeen, faulty: Set<string>): Catch[] {
  const concerns = (alarm: LoopFacts['alarms'][number]) =>
    fault.request === null
      ? alarm.version !== null && faulty.has(alarm.version)
      : alarm.subject === ''
        ? fault.answers
        : fault.inputs.includes(alarm.subject)
  return loop.alarms
    .filter((alarm) => alarm.firedAtMs >= onsetAtMs && aboutData.includes(alarm.source) && concerns(alarm))
    .map((alarm) => ({
      by: 'monitor' as const,
      atMs: alarm.firedAtMs,
      calendarMs: alarm.firedCalendarMs,
      version: alarm.version,
      check: alarm.subject === '' ? alarm.source : `${alarm.source} of ${alarm.subject}`,
      why: alarm.why,
      figures: alarm.figures,
      routeBackAtMs: null,
    }))
}

/** Monitors that say something about requests and answers; the others are about how many and how old. */
const aboutData = ['drift', 'predictionDrift', 'missing', 'unseen', 'predictedActual', 'quality']

function routeBackMs(caught: Catch | null): number | null {
  if (caught === null || caught.routeBackAtMs === null) return null
  return Math.max(0, caught.routeBackAtMs - caught.atMs)
}

function lastAfter(bad: Acknowledged[], caught: Catch | null): number | null {
  const last = bad.at(-1)
  if (caught === null || last === undefined) return null
  return Math.max(0, last.atMs - caught.atMs)
}

function figuresOnly(figures: Record<string, unknown>): Record<string, number | string | boolean | null> {
  const isFigure = (value: unknown): value is number | string | boolean | null =>
    value === null || ['number', 'string', 'boolean'].includes(typeof value)
  return Object.fromEntries(Object.entries(figures).filter((entry): entry is [string, number] => isFigure(entry[1])))
}

const isoDay = (timeMs: number) => new Date(timeMs).toISOString().slice(0, 10)
