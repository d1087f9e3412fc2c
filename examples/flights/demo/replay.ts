import { setTimeout as sleep } from 'node:timers/promises'
import { landWeek } from '../land-data.ts'
import { weekName } from '../weeks.ts'
import type { GatewayClient, Label } from './gateway-client.ts'
import type { Ledger } from './ledger.ts'
import { DemoError, type Millrace } from './millrace-client.ts'
import type { Day } from './online-features.ts'
import type { Scenario } from './scenario.ts'
import { Traffic } from './traffic.ts'
import type { View } from './view.ts'
import type { Watch, Watched } from './watch.ts'

/**
 * Day by day: move the calendar, send the labels of yesterday's flights, then ask about today's; on Mondays last week's
 * flights land as new data. The calendar never jumps over a moment that Millrace waits for (a cron), and it is held
 * while Millrace trains, evaluates and brings up a version, so that a slow machine gives the same story as a fast one.
 * While a version is on trial the days go on, as its labels come a day later. Nothing but the data is laid down.
 */

export interface ReplayParts {
  millrace: Pick<
    Millrace,
    'train' | 'versions' | 'dueTimes' | 'monitoredUntil' | 'setCalendar' | 'holdCalendar' | 'releaseCalendar' | 'until'
  >
  gateway: Pick<GatewayClient, 'predict' | 'feedback'>
  ledger: Ledger
  watch: Pick<Watch, 'look'>
  view: Pick<View, 'tell' | 'show'>
  model: string
  /** Folder in which weekly files land. */
  weeksDir: string
  days: Day[]
  scenario: Pick<Scenario, 'perDay' | 'perTrialDay' | 'monitors'>
  /** Once the first version serves. */
  onFirst: () => Promise<void>
  /** The fault that is replayed: what happens on its day, and whether labels are sent at all. */
  fault: { onsetMs: number; begin: () => Promise<string>; labels: boolean } | null
}

export interface Hold {
  atMs: number
  why: string
  ms: number
}

export interface Replayed {
  holds: Hold[]
  weeksLanded: number
  /** Real time at which the fault began; null: there was none. */
  onsetAtMs: number | null
  /** When the calendar was set, real time, and to what. */
  moves: { atMs: number; calendarMs: number }[]
}

const DAY_MS = 86_400_000
const CONNECTIONS = 8
const TRICKLE_PER_SECOND = 40
/** A day lasts at least so long while a version is on trial: its evidence comes by way of the lake, once a second. */
const TRIAL_DAY_MS = 1_200
const LOOK_MS = 150
const FIRING_LIMIT_MS = 10_000
const DUE_PER_DAY_MAX = 100
const SETTLED_LIMIT_MS = 120_000
/** After the last day, so that it is judged as well. */
const LAST_WAIT_MS = 3_000

export class Replay {
  private readonly parts: ReplayParts
  private readonly traffic: Traffic
  private readonly holds: Hold[] = []
  private readonly moves: Replayed['moves'] = []
  private weeksLanded = 0
  private onsetAtMs: number | null = null
  /** Acknowledged predictions up to here have their label. */
  private labelled = 0
  private day: Day | null = null
  /** Where the calendar was last set to. */
  private calendarMs = 0
  /** Acknowledged predictions from here on are of this week. */
  private weekBegan = 0

  constructor(parts: ReplayParts) {
    this.parts = parts
    this.traffic = new Traffic(parts.gateway, parts.ledger)
  }

  async days(): Promise<Replayed> {
    for (const day of this.parts.days) await this.replayDay(day)
    const endMs = (this.day?.startMs ?? 0) + DAY_MS
    await this.moveTo(endMs)
    await this.sendLabels(endMs)
    await this.letMonitorsCatchUp(endMs, { behindMs: 0, waitMs: LAST_WAIT_MS })
    await this.settle()
    const { holds, moves, weeksLanded, onsetAtMs } = this
    return { holds, moves, weeksLanded, onsetAtMs }
  }

  private async replayDay(day: Day): Promise<void> {
    const beganMs = performance.now()
    const isFirst = this.day === null
    if (isFirst) this.calendarMs = day.startMs
    else await this.moveTo(day.startMs)
    this.day = day
    await this.sendLabels(day.startMs)
    this.traffic.beginDay(day.flights)
    if (isMonday(day.startMs) && !isFirst) await this.landLastWeek(day.startMs)
    await this.beginFault(day.startMs)
    await this.passDueTimes(day.startMs + DAY_MS - 1)
    if (isFirst) {
      await this.mustServe()
      await this.parts.onFirst()
    }
    const watched = await this.settle()
    await this.askAboutToday(watched.trial !== null, beganMs)
    this.show(watched)
    await this.letMonitorsCatchUp(day.startMs + DAY_MS, this.parts.scenario.monitors)
  }

  private async moveTo(calendarMs: number): Promise<void> {
    await this.parts.millrace.setCalendar(calendarMs)
    this.calendarMs = calendarMs
    this.moves.push({ atMs: Date.now(), calendarMs })
  }

  /** Stops at every moment until then for which Millrace has planned something. */
  private async passDueTimes(untilMs: number): Promise<void> {
    for (let passed = 0; passed < DUE_PER_DAY_MAX; passed++) {
      const due = (await this.parts.millrace.dueTimes(this.parts.model)).filter((atMs) => atMs <= untilMs)
      if (due.length === 0) return
      const dueMs = Math.min(...due)
      if (dueMs > this.calendarMs) await this.moveTo(dueMs)
      await this.untilPassed(dueMs)
      await this.settle()
    }
  }

  /** The trigger is Millrace's own: the demo only gives it the time to look at its clock. */
  private async untilPassed(dueMs: number): Promise<void> {
    const endMs = performance.now() + FIRING_LIMIT_MS
    while (performance.now() < endMs) {
      if ((await this.parts.millrace.dueTimes(this.parts.model)).every((atMs) => atMs > dueMs)) return
      await sleep(LOOK_MS)
    }
  }

  /** Holds the calendar until nothing is under way but, maybe, a trial. */
  private async settle(): Promise<Watched> {
    const { millrace, watch } = this.parts
    const first = await watch.look(this.calendarMs)
    if (first.busy === null) return first
    const startedMs = performance.now()
    const why = first.busy.text
    await millrace.holdCalendar(why)
    const settled = this.untilSettled()
    // Before the first version there is nobody to answer.
    const isServed = this.parts.ledger.acknowledged.length > 0
    const last = await (isServed ? this.traffic.trickleDuring(settled, TRICKLE_PER_SECOND) : settled)
    await millrace.releaseCalendar()
    this.holds.push({ atMs: this.day?.startMs ?? 0, why, ms: performance.now() - startedMs })
    return last
  }

  private untilSettled(): Promise<Watched> {
    return this.parts.millrace.until('a training and what follows from it to end', SETTLED_LIMIT_MS, async () => {
      const watched = await this.parts.watch.look(this.calendarMs)
      this.show(watched)
      return watched.busy === null ? watched : null
    })
  }

  /** By the clock where that falls on the first day; else it is asked for. */
  private async mustServe(): Promise<void> {
    const { millrace, model } = this.parts
    await this.settle()
    if (await this.isServing()) return
    await millrace.train(model, 'the first version')
    await this.settle()
    if (await this.isServing()) return
    const versions = await millrace.versions(model)
    throw new DemoError(`No version answers after the first training: ${versions.map(({ why }) => why).join('; ')}`)
  }

  private async isServing(): Promise<boolean> {
    return (await this.parts.millrace.versions(this.parts.model)).some(({ release }) => release === 'live')
  }

  private async askAboutToday(onTrial: boolean, beganMs: number): Promise<void> {
    const { perDay, perTrialDay } = this.parts.scenario
    await this.traffic.send(onTrial ? perTrialDay : perDay, CONNECTIONS, onTrial)
    const leftMs = TRIAL_DAY_MS - (performance.now() - beganMs)
    if (onTrial && leftMs > 0) await sleep(leftMs)
  }

  /** What was asked until yesterday is known today. */
  private async sendLabels(atMs: number): Promise<void> {
    const { ledger, gateway, fault } = this.parts
    const labels: Label[] = ledger.acknowledged
      .slice(this.labelled)
      .map(({ predictionId, late }) => ({ id: predictionId, label: late, at: new Date(atMs).toISOString() }))
    this.labelled = ledger.acknowledged.length
    if (labels.length === 0 || fault?.labels === false) return
    ledger.labelsSent += labels.length
    ledger.labelsAccepted += await gateway.feedback(labels)
  }

  private async landLastWeek(mondayMs: number): Promise<void> {
    const { view, weeksDir } = this.parts
    const week = weekName(mondayMs - DAY_MS)
    this.weeksLanded++
    const { flights } = await landWeek(week, weeksDir)
    view.tell(mondayMs, `${week} landed: ${flights.toLocaleString('en')} flights. ${this.weekInNumbers()}`)
  }

  private async beginFault(dayMs: number): Promise<void> {
    const { fault, view } = this.parts
    if (fault === null || this.onsetAtMs !== null || dayMs < fault.onsetMs) return
    this.onsetAtMs = Date.now()
    view.tell(dayMs, `From today on: ${await fault.begin()}. Millrace is told nothing.`)
  }

  /** Monitors judge a day once its labels are in the lake; the calendar must not run away from them. */
  private async letMonitorsCatchUp(nowMs: number, { behindMs, waitMs }: Scenario['monitors']): Promise<void> {
    const endMs = performance.now() + waitMs
    while (performance.now() < endMs) {
      const untilMs = await this.parts.millrace.monitoredUntil(this.parts.model)
      if (untilMs === null || untilMs >= nowMs - behindMs) return
      await sleep(LOOK_MS)
    }
  }

  /** How the live answers since the last Monday did, by the application's own books. */
  private weekInNumbers(): string {
    const { acknowledged } = this.parts.ledger
    const week = acknowledged.slice(this.weekBegan)
    this.weekBegan = acknowledged.length
    if (week.length === 0) return ''
    const late = week.filter((one) => one.late === 1).length / week.length
    const expected = week.reduce((sum, { probability }) => sum + probability, 0) / week.length
    const percent = (share: number) => `${(100 * share).toFixed(0)}%`
    return `Of the ${week.length.toLocaleString('en')} asked about, ${percent(late)} were late; ${percent(expected)} were predicted.`
  }

  private show({ busy, trial }: Watched): void {
    const { view, ledger, days } = this.parts
    view.show({
      calendarMs: this.day?.startMs ?? days[0]?.startMs ?? 0,
      day: this.day === null ? 0 : days.indexOf(this.day) + 1,
      days: days.length,
      underWay: busy,
      trial: trial?.text ?? null,
      sent: ledger.sent,
      failed: ledger.failed + ledger.interrupted,
      version: ledger.acknowledged.at(-1)?.version ?? null,
    })
  }
}

const isMonday = (dayMs: number) => new Date(dayMs).getUTCDay() === 1
