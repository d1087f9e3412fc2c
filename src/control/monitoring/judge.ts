import type { Transaction } from 'kysely'
import type { MonitorConfig } from '../../config/project.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { Store } from '../../kernel/store/store.ts'
import { notePendingAlert, raiseAlert, resolveAlert } from './alert-requests.ts'
import { openAlert } from './alert-store.ts'
import { decideAlert } from './decide-alert.ts'
import { decideMonitor } from './decide-monitor.ts'
import type { Finding, WindowFacts } from './finding.ts'
import { liveBuckets, liveRequests, qualityBuckets } from './histogram-store.ts'
import {
  forgetSubjects,
  lastOf,
  monitorStates,
  saveMonitorState,
  type LastFinding,
  type MonitorState,
} from './monitor-store.ts'
import { addCounts, HOUR_MS, type QualitySums } from './observation.ts'
import type { Subject } from './subject.ts'
import { dueWindows, firstWindow, RIPENESS, windowStart, type Window } from './windows.ts'

/**
 * Judges what is due of one champion: each monitor's windows in order, each window in one transaction that also moves
 * how far the monitor has come, so that none is judged twice. A new champion starts fresh.
 * @param arrivedMs - calendar: everything before is in the lake and counted
 */
export async function judge(store: Store, clock: Clock, subject: Subject, arrivedMs: number): Promise<void> {
  const states = await monitorStates(store.db, subject.model.name)
  for (const monitor of subject.model.monitors.monitors) {
    const state = states.find((s) => s.monitor === monitor.name && s.subject === '') ?? null
    if (RIPENESS[monitor.name] === 'level') await judgeNow(store, clock, subject, monitor, state, arrivedMs)
    else await judgeWindows(store, clock, subject, monitor, state, arrivedMs)
  }
}

/** The windows of a monitor that can be judged now. */
export function windowsOf(
  subject: Subject,
  monitor: MonitorConfig,
  state: MonitorState | null,
  arrivedMs: number,
): { windows: Window[]; judgedUntilMs: number } {
  const { windowMs, labelDelayMs } = subject.model.monitors
  const arrivedUntilMs = RIPENESS[monitor.name] === 'labels' ? arrivedMs - labelDelayMs : arrivedMs
  const first = firstWindow(subject.sinceMs, windowMs, monitor.name === 'traffic')
  const isSame = isOfModel(monitor) || state?.last?.versionId === subject.champion.id
  const enough = Math.max(monitor.raiseAfter, monitor.clearAfter) * windowMs
  const judgedUntilMs =
    state === null
      ? // Not further back than an alarm needs, so that yesterday's news is not sent today.
        Math.max(first, windowStart(arrivedUntilMs, windowMs) - enough)
      : isSame
        ? state.judgedUntilMs
        : Math.max(state.judgedUntilMs, first)
  return { windows: dueWindows({ judgedUntilMs, arrivedUntilMs }, windowMs), judgedUntilMs }
}

async function judgeWindows(
  store: Store,
  clock: Clock,
  subject: Subject,
  monitor: MonitorConfig,
  state: MonitorState | null,
  arrivedMs: number,
): Promise<void> {
  const { windows, judgedUntilMs } = windowsOf(subject, monitor, state, arrivedMs)
  if (state === null) {
    // From here on no window is left out, however far the calendar jumps.
    await store.transaction((tx) => saveMonitorState(tx, freshState(subject, monitor, '', judgedUntilMs)))
  }
  for (const window of windows) {
    const findings = decideMonitor(monitor, await factsOf(store, subject, window, arrivedMs))
    await store.transaction((tx) => record(tx, clock, subject, monitor, window, findings))
  }
}

/** Monitors that look at now: a look counts as a window where the verdict has changed, or a new window has begun. */
async function judgeNow(
  store: Store,
  clock: Clock,
  subject: Subject,
  monitor: MonitorConfig,
  state: MonitorState | null,
  arrivedMs: number,
): Promise<void> {
  const { windowMs } = subject.model.monitors
  const fromMs = windowStart(arrivedMs, windowMs)
  const window = { fromMs, toMs: fromMs + windowMs }
  const limit = monitor.limit ?? windowMs
  const reach = { fromMs: arrivedMs - limit - HOUR_MS, toMs: arrivedMs + HOUR_MS }
  const nowMs = monitor.name === 'modelAge' ? Math.round(clock.calendarMs()) : arrivedMs
  const [finding] = decideMonitor(monitor, { ...(await factsOf(store, subject, reach, nowMs)), window })
  const last = state?.last
  const isNews = last?.versionId !== subject.champion.id || last.verdict !== finding!.verdict || last.toMs < window.toMs
  if (isNews) await store.transaction((tx) => record(tx, clock, subject, monitor, window, [finding!]))
}

async function factsOf(store: Store, subject: Subject, window: Window, nowMs: number): Promise<WindowFacts> {
  const { db } = store
  const { model, champion } = subject
  const { fromMs, toMs } = window
  const buckets = await liveBuckets(db, champion.id, fromMs, toMs)
  const requests = await liveRequests(db, model.name, fromMs, toMs)
  const quality = await qualityBuckets(db, champion.id, fromMs, toMs)
  const sumOf = (key: keyof QualitySums) => quality.reduce((sum, bucket) => sum + bucket[key], 0)
  return {
    window,
    versionId: champion.id,
    profile: subject.profile,
    counts: buckets.length === 0 ? null : buckets.map((bucket) => bucket.counts).reduce(addCounts),
    requests: requests.reduce((sum, bucket) => sum + bucket.requests, 0),
    logShare: model.log.mode === 'off' ? 0 : model.log.samplePercent / 100,
    quality:
      quality.length === 0
        ? null
        : {
            predictions: sumOf('predictions'),
            labelled: sumOf('labelled'),
            lossSum: sumOf('lossSum'),
            lossSquares: sumOf('lossSquares'),
            labelSum: sumOf('labelSum'),
            scoreSum: sumOf('scoreSum'),
          },
    labelDelayMs: model.monitors.labelDelayMs,
    reference: subject.reference,
    loss: subject.loss,
    nowMs,
    championSinceMs: subject.sinceMs,
    lastRequestMs: requests.reduce<number | null>((last, { lastAtMs }) => Math.max(last ?? lastAtMs, lastAtMs), null),
    trainedMs: champion.createdCalendarMs,
  }
}

async function record(
  tx: Transaction<Database>,
  clock: Clock,
  subject: Subject,
  monitor: MonitorConfig,
  window: Window,
  findings: Finding[],
): Promise<void> {
  const states = (await monitorStates(tx, subject.model.name)).filter((state) => state.monitor === monitor.name)
  const isLevel = RIPENESS[monitor.name] === 'level'
  const whole = states.find((state) => state.subject === '')
  // Judged meanwhile, e.g. by a control plane that was taken for dead.
  if (!isLevel && whole !== undefined && whole.judgedUntilMs >= window.toMs) return
  const judgedUntilMs = Math.max(window.toMs, whole?.judgedUntilMs ?? 0)
  for (const finding of findings) {
    const before = usable(states.find((state) => state.subject === finding.subject) ?? null, subject, monitor)
    await recordFinding(tx, clock, subject, monitor, window, finding, before, judgedUntilMs)
  }
  const subjects = ['', ...findings.map((finding) => finding.subject)]
  await forgetSubjects(tx, { model: subject.model.name, monitor: monitor.name, keep: subjects })
  if (findings.some((finding) => finding.subject === '')) return
  // Of the monitor as a whole: the worst of its columns.
  const worst = worstOf(findings)
  const last = lastOf(worst, { ...window, versionId: subject.champion.id, before: whole?.last ?? null })
  await saveMonitorState(tx, { ...freshState(subject, monitor, '', judgedUntilMs), last })
}

/** What was counted of another champion says nothing of this one; traffic is the model's. */
function usable(state: MonitorState | null, subject: Subject, monitor: MonitorConfig): MonitorState | null {
  if (state === null || isOfModel(monitor) || state.last === null) return state
  return state.last.versionId === subject.champion.id ? state : null
}

export function isOfModel({ name }: Pick<MonitorConfig, 'name'>): boolean {
  return name === 'traffic' || name === 'silence'
}

async function recordFinding(
  tx: Transaction<Database>,
  clock: Clock,
  subject: Subject,
  monitor: MonitorConfig,
  window: Window,
  finding: Finding,
  before: MonitorState | null,
  judgedUntilMs: number,
): Promise<void> {
  const model = subject.model.name
  const of = { model, source: monitor.name, subject: finding.subject }
  const open = await openAlert(tx, of)
  const decision = decideAlert(finding.verdict, before ?? { bad: 0, good: 0 }, openStatus(open?.status), monitor)
  const last: LastFinding = lastOf(finding, { ...window, versionId: subject.champion.id, before: before?.last ?? null })
  const { bad, good } = decision
  await saveMonitorState(tx, { model, monitor: monitor.name, subject: finding.subject, judgedUntilMs, bad, good, last })
  const request = {
    ...of,
    endpoint: subject.model.endpoint,
    versionId: subject.champion.id,
    severity: monitor.severity,
    why: finding.why,
    figures: { ...finding.figures, limit: finding.limit, windowFromMs: window.fromMs, windowToMs: window.toMs },
    response: monitor.response,
    runbook: monitor.runbook,
  }
  if (decision.act === 'note') await notePendingAlert(tx, clock, request)
  if (decision.act === 'raise') await raiseAlert(tx, clock, request)
  if (decision.act === 'resolve') await resolveAlert(tx, clock, { ...of, why: finding.why })
}

function openStatus(status: string | undefined): 'pending' | 'firing' | null {
  return status === 'pending' || status === 'firing' ? status : null
}

function freshState(subject: Subject, monitor: MonitorConfig, of: string, judgedUntilMs: number): MonitorState {
  return { model: subject.model.name, monitor: monitor.name, subject: of, judgedUntilMs, bad: 0, good: 0, last: null }
}

const RANK = { bad: 2, ok: 1, insufficient: 0 } as const

function worstOf(findings: Finding[]): Finding {
  return findings.reduce((worst, finding) => {
    const rank = RANK[finding.verdict] - RANK[worst.verdict]
    return rank > 0 || (rank === 0 && (finding.value ?? 0) > (worst.value ?? 0)) ? finding : worst
  })
}
