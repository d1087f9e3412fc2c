import type { EventView } from '../../../src/surface/api/event-schemas.ts'
import type { ReleaseView } from '../../../src/surface/api/release-schemas.ts'
import type { RunSummary, RunView } from '../../../src/surface/api/run-schemas.ts'
import type { VersionSummary } from '../../../src/surface/api/version-schemas.ts'
import type { Millrace } from './millrace-client.ts'
import type { TrialBook } from './trial-book.ts'
import type { View } from './view.ts'

/**
 * Looks at what Millrace is doing, tells people about it, and says whether the calendar should wait for it. It decides
 * nothing: all of it is read from Millrace's own rows.
 */

export interface Watched {
  /** What the calendar waits for, e.g. `run-3: train round 20 of 60`; null: nothing. */
  busy: { text: string; share: number } | null
  /** A version is compared with the champion under live traffic. */
  trial: { version: string; text: string } | null
}

export interface WatchParts {
  millrace: Pick<Millrace, 'recentRuns' | 'run' | 'versions' | 'gate' | 'recentReleases' | 'eventsAfter' | 'canary'>
  trials: Pick<TrialBook, 'see' | 'isClosed' | 'close'>
  view: Pick<View, 'tell'>
  model: string
}

const TOLD_MAX = 240
const BEFORE_TRIAL = ['queued', 'deploying', 'preflight', 'switching']
const OPEN_TRIALS = ['shadowing', 'canary', 'held']

export class Watch {
  private readonly parts: WatchParts
  private readonly told = new Set<string>()
  private lastSeq = 0

  constructor(parts: WatchParts) {
    this.parts = parts
  }

  /** @param calendarMs - today, for what is told without a date of its own */
  async look(calendarMs: number): Promise<Watched> {
    const { millrace, model } = this.parts
    const runs = await millrace.recentRuns(model)
    const releases = await millrace.recentReleases(model)
    for (const run of runs.toReversed()) if (isDecided(run)) await this.tellOutcome(run, calendarMs)
    await this.noteTrial(releases)
    await this.tellEvents()
    return { busy: await this.busyWith(runs, releases), trial: trialOf(releases) }
  }

  /** A run until its version is decided on, and a release until it is on trial or at an end. */
  private async busyWith(runs: RunSummary[], releases: ReleaseView[]): Promise<Watched['busy']> {
    const onTrial = trialOf(releases) !== null
    const run = runs.find((one) => !isDecided(one) && !(onTrial && waitsForProof(one)))
    if (run !== undefined) {
      const view = await this.parts.millrace.run(run.id)
      return { text: `${run.id}: ${stepInWords(view)}`, share: view.progress }
    }
    const release = releases.find(({ status }) => status !== 'queued' && BEFORE_TRIAL.includes(status))
    if (release !== undefined) return { text: `${release.id} of ${release.version}: ${release.status}`, share: 1 }
    const next = releases.find(({ status }) => status === 'queued')
    return next !== undefined && !onTrial ? { text: `${next.id} of ${next.version} begins`, share: 1 } : null
  }

  /** The newest release that is or was on trial, until it is over. */
  private async noteTrial(releases: ReleaseView[]): Promise<void> {
    const { millrace, model, trials } = this.parts
    const release = releases.find(({ status }) => !BEFORE_TRIAL.includes(status))
    if (release === undefined || trials.isClosed(release.id)) return
    const view = await millrace.canary(model)
    if (view !== null) trials.see(view)
    const isOver = !OPEN_TRIALS.includes(release.status)
    if (isOver && view?.release !== release.id) trials.close(release.id)
  }

  private async tellOutcome(run: RunSummary, calendarMs: number): Promise<void> {
    if (this.told.has(run.id)) return
    this.told.add(run.id)
    const { millrace, model, view } = this.parts
    const tookS = ((run.endedAtMs ?? run.createdAtMs) - run.createdAtMs) / 1000
    const { version: ref } = run.outcome
    if (ref === null) {
      view.tell(calendarMs, `${run.id} ${run.status} after ${tookS.toFixed(1)} s: ${run.why ?? 'no reason given'}`)
      return
    }
    const version = (await millrace.versions(model)).find((one) => one.ref === ref)
    const gate = await millrace.gate(ref)
    view.tell(
      calendarMs,
      [
        `${ref}: trained in ${tookS.toFixed(1)} s; ${figuresOf(version)} on the newest week`,
        shortened(`gate ${gate.verdict ?? 'undecided'}: ${gate.why}`),
        ...(run.outcome.release === null ? [`not released: ${reasonOf(version, run, gate.why)}`] : []),
      ].join('\n'),
    )
  }

  private async tellEvents(): Promise<void> {
    const events = await this.parts.millrace.eventsAfter(this.lastSeq)
    for (const event of events) {
      this.lastSeq = event.seq
      const text = eventInWords(event)
      if (text !== null) this.parts.view.tell(event.calendarMs, shortened(text))
    }
  }
}

/** Nothing more follows by itself but a trial, for which the days must go on. */
function isDecided({ outcome }: RunSummary): boolean {
  return outcome.settled || outcome.release !== null
}

/** Its version is compared with the champion once it is known which one that is. */
function waitsForProof({ outcome }: RunSummary): boolean {
  return outcome.status === 'candidate'
}

function trialOf(releases: ReleaseView[]): Watched['trial'] {
  const release = releases.find(({ status }) => OPEN_TRIALS.includes(status))
  if (release === undefined) return null
  return {
    version: release.version,
    text: `${release.version} ${trialWords[release.status]} ${release.why ?? ''}`.trim(),
  }
}

const trialWords: Record<string, string> = {
  shadowing: 'in the shadow:',
  canary: 'has a share of the traffic:',
  held: 'is held:',
}

function stepInWords(run: RunView): string {
  const step = run.steps.find(({ status }) => status === 'running')
  return step === undefined ? 'evaluation, gate, release' : `${step.name} ${step.progress?.text ?? ''}`
}

function figuresOf(version: VersionSummary | undefined): string {
  const { logLoss, auc } = version?.metrics ?? {}
  return `log loss ${logLoss?.toFixed(4) ?? 'unknown'}, AUC ${auc?.toFixed(3) ?? 'unknown'}`
}

function reasonOf(version: VersionSummary | undefined, run: RunSummary, gateWhy: string): string {
  return (version?.releaseWhy ?? run.outcome.why ?? 'no reason given').replace(`: ${gateWhy}`, '')
}

/** What people should hear of; null: details. */
export function eventInWords({ entity, entityId, from, to, cause, detail }: EventView): string | null {
  if (entity === 'trigger' && to === 'fired') return `Millrace trains${inRun(detail)}. Why: ${cause}`
  if (entity === 'release' && from !== to) {
    const words = releaseWords[to]
    return words === undefined ? null : `${entityId} ${words}: ${cause}`
  }
  if (entity === 'alert' && to === 'firing') return `alarm (${subjectOf(detail)}): ${cause}`
  if (entity === 'alert' && from === 'firing' && to === 'resolved') return `alarm over (${subjectOf(detail)}): ${cause}`
  if (entity === 'retirement' && ['cold', 'deleted'].includes(to)) return `${entityId} retired, ${to}: ${cause}`
  if (entity === 'freeze') return `${to === 'active' ? 'frozen' : 'no longer frozen'}: ${cause}`
  return null
}

/** All of it is in the report. */
const shortened = (text: string) => (text.length <= TOLD_MAX ? text : `${text.slice(0, TOLD_MAX - 1)}…`)

const inRun = (detail: EventView['detail']) => (typeof detail?.['run'] === 'string' ? ` (${detail['run']})` : '')

/** `drift of distance` */
function subjectOf(detail: EventView['detail']): string {
  const [source, subject] = [detail?.['source'], detail?.['subject']]
  return typeof subject === 'string' && subject !== '' ? `${String(source)} of ${subject}` : String(source)
}

const releaseWords: Record<string, string> = {
  shadowing: 'gets copies of the live requests',
  canary: 'gets a share of them',
  held: 'is held',
  released: 'has all of them',
  'rolled-back': 'lost its share again',
  failed: 'is stopped',
  superseded: 'gives way to a newer one',
}
