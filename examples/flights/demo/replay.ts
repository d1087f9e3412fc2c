import { setTimeout as sleep } from 'node:timers/promises'
import { weekName } from '../weeks.ts'
import { landWeek } from '../land-data.ts'
import type { ReleaseView, RunSummary, RunView } from '../../../src/surface/api/schemas.ts'
import type { GatewayClient, Label } from './gateway-client.ts'
import type { Ledger } from './ledger.ts'
import { DemoError, type Millrace } from './millrace-client.ts'
import type { Day } from './online-features.ts'
import { Traffic } from './traffic.ts'
import type { View } from './view.ts'

/**
 * Day by day: move the calendar, send the labels of yesterday's flights, then ask about today's. On Mondays last week's
 * flights land as new data; with every second file Millrace starts to train by itself, and the calendar is held until
 * that training and what follows from it have come to an end. Nothing but the data is laid down beforehand.
 */

export interface ReplayParts {
  millrace: Pick<
    Millrace,
    | 'train'
    | 'runs'
    | 'run'
    | 'versions'
    | 'gate'
    | 'releases'
    | 'setCalendar'
    | 'holdCalendar'
    | 'releaseCalendar'
    | 'until'
  >
  gateway: Pick<GatewayClient, 'predict' | 'feedback'>
  ledger: Ledger
  view: Pick<View, 'tell' | 'show'>
  model: string
  /** Folder in which weekly files land. */
  weeksDir: string
  days: Day[]
  perDay: number
}

export interface Hold {
  atMs: number
  why: string
  ms: number
}

export interface Replayed {
  holds: Hold[]
  weeksLanded: number
}

const DAY_MS = 86_400_000
const CONNECTIONS = 8
const TRICKLE_PER_SECOND = 60
/** As many new files make Millrace train: `atLeast` in millrace.config.ts. */
const FILES_PER_TRAINING = 2
const FIRING_LIMIT_MS = 20_000
const ASK_AFTER_MS = 5_000
const LOOK_MS = 100
const SETTLED_LIMIT_MS = 120_000

export class Replay {
  private readonly parts: ReplayParts
  private readonly traffic: Traffic
  private readonly holds: Hold[] = []
  private weeksLanded = 0
  /** Acknowledged predictions up to here have their label. */
  private labelled = 0
  private day: Day | null = null

  constructor(parts: ReplayParts) {
    this.parts = parts
    this.traffic = new Traffic(parts.gateway, parts.ledger)
  }

  /**
   * The first version, on the weeks that have landed before. They are new to Millrace, so that it trains by itself;
   * were they not, it would be asked by hand.
   */
  async trainFirst(atMs: number, askAfterMs: number = ASK_AFTER_MS): Promise<void> {
    const { millrace, model } = this.parts
    await this.whileHeld(atMs, 'the first training', async () => {
      if (!(await this.hasFired(new Set(), askAfterMs))) await millrace.train(model, 'the first version')
      await this.untilFired(new Set())
      await this.untilAllSettled()
    })
    const versions = await millrace.versions(model)
    if (!versions.some(({ release }) => release === 'live')) {
      throw new DemoError(`No version answers after the first training: ${versions.map(({ why }) => why).join('; ')}`)
    }
  }

  async days(): Promise<Replayed> {
    for (const day of this.parts.days) await this.replayDay(day)
    await this.sendLabels((this.day?.startMs ?? 0) + DAY_MS)
    return { holds: this.holds, weeksLanded: this.weeksLanded }
  }

  private async replayDay(day: Day): Promise<void> {
    const { millrace, perDay } = this.parts
    // The calendar begins on the first day; it may be some seconds past midnight by now.
    if (this.day !== null) await millrace.setCalendar(day.startMs)
    await this.sendLabels(day.startMs)
    const isMonday = new Date(day.startMs).getUTCDay() === 1
    const hasEarlierDay = this.day !== null
    this.day = day
    this.traffic.beginDay(day.flights)
    if (isMonday && hasEarlierDay) await this.landLastWeek(day.startMs)
    await this.traffic.send(perDay, CONNECTIONS)
    this.show(null)
  }

  /** What was asked until yesterday is known today. */
  private async sendLabels(atMs: number): Promise<void> {
    const { ledger, gateway } = this.parts
    const labels: Label[] = ledger.acknowledged
      .slice(this.labelled)
      .map(({ predictionId, late }) => ({ id: predictionId, label: late, at: new Date(atMs).toISOString() }))
    this.labelled = ledger.acknowledged.length
    if (labels.length === 0) return
    ledger.labelsSent += labels.length
    ledger.labelsAccepted += await gateway.feedback(labels)
  }

  private async landLastWeek(mondayMs: number): Promise<void> {
    const { view, weeksDir } = this.parts
    const week = weekName(mondayMs - DAY_MS)
    this.weeksLanded++
    if (this.weeksLanded % FILES_PER_TRAINING !== 0) {
      const { flights } = await landWeek(week, weeksDir)
      view.tell(mondayMs, `${week} landed: ${flights.toLocaleString('en')} flights. ${this.weekInNumbers()}`)
      return
    }
    await this.whileHeld(mondayMs, `${week} landed, the second new file: a training`, async () => {
      const before = new Set((await this.parts.millrace.runs(this.parts.model)).map(({ id }) => id))
      const { flights } = await landWeek(week, weeksDir)
      view.tell(mondayMs, `${week} landed: ${flights.toLocaleString('en')} flights. ${this.weekInNumbers()}`)
      await this.untilFired(before)
      await this.untilAllSettled()
    })
  }

  private async whileHeld(atMs: number, why: string, work: () => Promise<void>): Promise<void> {
    const { millrace } = this.parts
    const startedMs = performance.now()
    await millrace.holdCalendar(why)
    await this.traffic.trickleDuring(work(), TRICKLE_PER_SECOND)
    await millrace.releaseCalendar()
    this.holds.push({ atMs, why, ms: performance.now() - startedMs })
  }

  /** The trigger is Millrace's own: the demo only waits for the run that it must start. */
  private async untilFired(before: Set<string>): Promise<void> {
    const { millrace, view } = this.parts
    const run = await millrace.until('the new data to start a training', FIRING_LIMIT_MS, () => this.newRun(before))
    view.tell(this.day?.startMs ?? run.asOfMs, `Millrace starts ${run.id}. Why: ${run.cause}`)
  }

  private async hasFired(before: Set<string>, withinMs: number): Promise<boolean> {
    const endMs = performance.now() + withinMs
    while (performance.now() < endMs) {
      if ((await this.newRun(before)) !== null) return true
      await sleep(LOOK_MS)
    }
    return false
  }

  private async newRun(before: Set<string>): Promise<RunSummary | null> {
    const runs = await this.parts.millrace.runs(this.parts.model)
    return runs.find(({ id }) => !before.has(id)) ?? null
  }

  /** Until every run and what follows from it (evaluation, gate, release) has come to an end; then tells about each. */
  private async untilAllSettled(): Promise<void> {
    const { millrace, model } = this.parts
    const unsettled = (await millrace.runs(model)).filter(({ outcome }) => !outcome.settled)
    for (const { id } of unsettled.toReversed()) {
      const settled = await millrace.until(`${id} and its release to end`, SETTLED_LIMIT_MS, async () => {
        const run = await millrace.run(id)
        this.show(run)
        return run.outcome.settled ? run : null
      })
      await this.tellOutcome(settled)
    }
  }

  private async tellOutcome(run: RunSummary): Promise<void> {
    const { millrace, model, view } = this.parts
    const tookS = ((run.endedAtMs ?? run.createdAtMs) - run.createdAtMs) / 1000
    const { version: ref } = run.outcome
    const atMs = this.day?.startMs ?? run.asOfMs
    if (ref === null) {
      view.tell(atMs, `${run.id} ${run.status} after ${tookS.toFixed(1)} s: ${run.why ?? 'no reason given'}`)
      return
    }
    const version = (await millrace.versions(model)).find((one) => one.ref === ref)
    const gate = await millrace.gate(ref)
    const release = (await millrace.releases(model)).find(({ id }) => id === run.outcome.release)
    const auc = version?.metrics?.['auc']
    const logLoss = version?.metrics?.['logLoss']
    view.tell(
      atMs,
      [
        `${ref}: trained in ${tookS.toFixed(1)} s; log loss ${logLoss?.toFixed(4)}, AUC ${auc?.toFixed(3)} on the newest week`,
        `gate ${gate.verdict ?? 'undecided'}: ${gate.why}`,
        releaseInWords(
          release,
          (version?.releaseWhy ?? run.outcome.why ?? 'no reason given').replace(`: ${gate.why}`, ''),
        ),
      ].join('\n'),
    )
  }

  /** How the live answers of the last seven days did, by the application's own books. */
  private weekInNumbers(): string {
    const { ledger, perDay } = this.parts
    const last = ledger.acknowledged.slice(-7 * perDay)
    if (last.length === 0) return ''
    const late = last.filter((one) => one.late === 1).length / last.length
    const expected = last.reduce((sum, { probability }) => sum + probability, 0) / last.length
    const percent = (share: number) => `${(100 * share).toFixed(0)}%`
    return `Of the last ${last.length.toLocaleString('en')} asked about, ${percent(late)} were late; ${percent(expected)} were predicted.`
  }

  private show(run: RunView | null): void {
    const { view, ledger, days } = this.parts
    const step = run?.steps.find(({ status }) => status === 'running')
    const text = step === undefined ? 'evaluation, gate, release' : `${step.name} ${step.progress?.text ?? ''}`
    view.show({
      calendarMs: this.day?.startMs ?? run?.asOfMs ?? 0,
      day: this.day === null ? 0 : days.indexOf(this.day) + 1,
      days: days.length,
      underWay: run === null ? null : { text: `${run.id}: ${text}`, share: run.progress },
      sent: ledger.sent,
      failed: ledger.failed + ledger.interrupted,
      version: ledger.acknowledged.at(-1)?.version ?? null,
    })
  }
}

function releaseInWords(release: ReleaseView | undefined, why: string): string {
  if (release === undefined) return `not released: ${why}`
  if (release.status !== 'released') return `${release.id} ${release.status}: ${release.why ?? why}`
  const { leadTimeMs } = release
  const leadTime = leadTimeMs === null ? '' : ` and answers ${(leadTimeMs / 1000).toFixed(1)} s after its training`
  return `released${leadTime}: ${why}`
}
