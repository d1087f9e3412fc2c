import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Answer, FlightFeatures, Label } from './gateway-client.ts'
import { Ledger } from './ledger.ts'
import type { Day } from './online-features.ts'
import { Replay, type ReplayParts } from './replay.ts'
import type { Watched } from './watch.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** A Monday. */
const FROM_MS = Date.UTC(2001, 0, 29)

describe('the replay', () => {
  let weeksDir: string
  beforeEach(async () => {
    weeksDir = await mkdtemp(join(tmpdir(), 'flights-replay-'))
    return () => rm(weeksDir, { recursive: true })
  })

  it('asks about each flight once, on its own day', async () => {
    const world = new World(weeksDir, 3)
    await world.replay.days()
    expect(world.asked).toHaveLength(3 * 5)
    expect(new Set(world.asked.map(({ distance }) => distance)).size).toBe(3 * 5)
    expect(world.events.slice(0, 2)).toEqual(['asked 5', 'calendar 2001-01-30 00'])
  })

  it('sends the labels of a day when the next one begins, before it asks about that day', async () => {
    const world = new World(weeksDir, 2)
    await world.replay.days()
    expect(world.events).toEqual([
      'asked 5',
      'calendar 2001-01-30 00',
      'labels 5 at 2001-01-30',
      'asked 5',
      'calendar 2001-01-31 00',
      'labels 5 at 2001-01-31',
    ])
    expect(world.labels.map(({ id }) => id)).toEqual(
      world.parts.ledger.acknowledged.map(({ predictionId }) => predictionId),
    )
  })

  it('never sends labels where the application has none', async () => {
    const world = new World(weeksDir, 2, {
      fault: { onsetMs: FROM_MS, begin: () => Promise.resolve('x'), labels: false },
    })
    await world.replay.days()
    expect(world.labels).toEqual([])
    expect(world.parts.ledger).toMatchObject({ sent: 10, labelsSent: 0, labelsAccepted: 0 })
  })

  it('lands each week on the Monday after it', async () => {
    const world = new World(weeksDir, 15)
    const replayed = await world.replay.days()
    expect((await readdir(weeksDir)).sort()).toEqual(['2001-W05.parquet', '2001-W06.parquet'])
    expect(replayed.weeksLanded).toBe(2)
  })

  it('stops the calendar at a time that Millrace has planned, and holds it until what begins there has settled', async () => {
    const world = new World(weeksDir, 2)
    world.crons = [FROM_MS + DAY_MS + 4 * HOUR_MS]
    const replayed = await world.replay.days()
    expect(world.events).toEqual([
      'asked 5',
      'calendar 2001-01-30 00',
      'labels 5 at 2001-01-30',
      'calendar 2001-01-30 04',
      'hold run-1: train',
      expect.stringMatching(/^asked \d+$/), // goes on meanwhile
      'settled',
      'release',
      expect.stringMatching(/^asked \d+$/),
      'calendar 2001-01-31 00',
      expect.stringMatching(/^labels \d+ at 2001-01-31$/),
    ])
    expect(replayed.holds).toMatchObject([{ atMs: FROM_MS + DAY_MS, why: 'run-1: train' }])
    expect(world.parts.ledger.sentWhileHeld).toBeGreaterThan(0)
  })

  it('sends no request before the first version serves', async () => {
    const world = new World(weeksDir, 1)
    world.crons = [FROM_MS + 4 * HOUR_MS]
    await world.replay.days()
    expect(world.events.slice(0, 4)).toEqual(['calendar 2001-01-29 04', 'hold run-1: train', 'settled', 'release'])
    expect(world.parts.ledger).toMatchObject({ sent: 5, sentWhileHeld: 0 })
    expect(world.firsts).toBe(1)
  })

  it('asks for the first version where no clock does', async () => {
    const world = new World(weeksDir, 1)
    world.liveVersion = null
    world.trained = 'late-flight@1'
    await world.replay.days()
    expect(world.events.slice(0, 5)).toEqual([
      'train: the first version',
      'hold run-1: train',
      'settled',
      'release',
      'asked 5',
    ])
  })

  it('refuses to go on if no version answers after the first training', async () => {
    const world = new World(weeksDir, 1)
    world.liveVersion = null
    await expect(world.replay.days()).rejects.toThrow('No version answers')
  })

  it('lets the days go on while a version is on trial, with more requests in each', async () => {
    const world = new World(weeksDir, 3)
    world.trialDays = [1]
    await world.replay.days()
    expect(world.events.filter((event) => event.startsWith('asked'))).toEqual(['asked 5', 'asked 9', 'asked 5'])
    expect(world.events.join()).not.toContain('hold')
    expect(world.parts.ledger.sentOnTrial).toBe(9)
  })

  it('waits for monitors that are behind, but only for so long', async () => {
    const world = new World(weeksDir, 7)
    world.monitoredUntilMs = [FROM_MS, FROM_MS + DAY_MS]
    const beganMs = performance.now()
    await world.replay.days()
    // Three days in front of the monitors are let pass; each one after waits a little, and the end for longer.
    expect(performance.now() - beganMs).toBeGreaterThan(3 * 100 + 3_000)
    expect(performance.now() - beganMs).toBeLessThan(6_000)
  })

  it('begins the fault once, on its day', async () => {
    const begun: number[] = []
    const begin = () => Promise.resolve(`begun ${begun.push(Date.now())}`)
    const world = new World(weeksDir, 4, { fault: { onsetMs: FROM_MS + 2 * DAY_MS, begin, labels: true } })
    const { onsetAtMs } = await world.replay.days()
    expect(begun).toHaveLength(1)
    expect(Math.abs(onsetAtMs! - begun[0]!)).toBeLessThan(1_000)
    expect(world.told).toContainEqual([FROM_MS + 2 * DAY_MS, 'From today on: begun 1. Millrace is told nothing.'])
  })
})

/** Stands in for Millrace and its gateway: a cron makes a training that settles at the third look. */
class World {
  readonly events: string[] = []
  readonly asked: FlightFeatures[] = []
  readonly labels: Label[] = []
  readonly told: [number | null, string][] = []
  readonly parts: ReplayParts
  readonly replay: Replay
  liveVersion: string | null = 'late-flight@1'
  /** What serves once it is asked for by hand. */
  trained: string | null = null
  /** Times that it was told that the first version serves. */
  firsts = 0
  /** Times at which a training starts. */
  crons: number[] = []
  /** Days (from 0) on which a version is on trial. */
  trialDays: number[] = []
  /** What is said each time that is asked; the last one again and again. */
  monitoredUntilMs: (number | null)[] = [null]
  private calendarMs = FROM_MS
  private looksLeft = 0

  constructor(weeksDir: string, days: number, more: Partial<ReplayParts> = {}) {
    this.parts = {
      millrace: this.millrace() as unknown as ReplayParts['millrace'],
      gateway: this,
      ledger: new Ledger(),
      watch: { look: () => Promise.resolve(this.look()) },
      view: { tell: (atMs, text) => void this.told.push([atMs, text]), show: () => {} },
      model: 'late-flight',
      weeksDir,
      days: Array.from({ length: days }, (_, index) => dayOf(index)),
      scenario: { perDay: 5, perTrialDay: 9, monitors: { behindMs: 3 * DAY_MS, waitMs: 100 } },
      onFirst: () => Promise.resolve(void this.firsts++),
      fault: null,
      ...more,
    }
    this.replay = new Replay(this.parts)
  }

  predict(flight: FlightFeatures): Promise<Answer> {
    this.asked.push(flight)
    const last = /^asked (\d+)$/.exec(this.events.at(-1) ?? '')
    if (last !== null) this.events.pop()
    this.events.push(`asked ${Number(last?.[1] ?? 0) + 1}`)
    return Promise.resolve({ kind: 'answered', predictionId: `p-${this.asked.length}`, version: '1', probability: 0.2 })
  }

  feedback(labels: Label[]): Promise<number> {
    this.labels.push(...labels)
    this.events.push(`labels ${labels.length} at ${labels[0]!.at.slice(0, 10)}`)
    return Promise.resolve(labels.length)
  }

  private look(): Watched {
    const day = Math.floor((this.calendarMs - FROM_MS) / DAY_MS)
    const trial = this.trialDays.includes(day) ? { version: 'late-flight@2', text: 'in the shadow' } : null
    if (this.looksLeft > 0 && --this.looksLeft === 0) this.events.push('settled')
    return { busy: this.looksLeft > 0 ? { text: 'run-1: train', share: 0.5 } : null, trial }
  }

  private millrace() {
    const say = (event: string) => Promise.resolve(void this.events.push(event))
    return {
      versions: () =>
        Promise.resolve([{ ref: 'late-flight@1', release: this.liveVersion === null ? 'none' : 'live', why: 'x' }]),
      train: (_: string, why: string) => {
        this.liveVersion = this.trained
        this.looksLeft = 4
        return say(`train: ${why}`)
      },
      dueTimes: () => {
        const due = this.crons.filter((atMs) => atMs <= this.calendarMs)
        this.crons = this.crons.filter((atMs) => atMs > this.calendarMs)
        if (due.length > 0) this.looksLeft = 4
        return Promise.resolve(this.crons)
      },
      monitoredUntil: () =>
        Promise.resolve(this.monitoredUntilMs.length > 1 ? this.monitoredUntilMs.shift()! : this.monitoredUntilMs[0]!),
      setCalendar: (ms: number) => {
        this.calendarMs = ms
        return say(`calendar ${new Date(ms).toISOString().slice(0, 13).replace('T', ' ')}`)
      },
      holdCalendar: (why: string) => say(`hold ${why}`),
      releaseCalendar: () => say('release'),
      until: async <T>(_: string, __: number, ask: () => Promise<T | null>): Promise<T> => {
        for (;;) {
          const answer = await ask()
          if (answer !== null) return answer
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      },
    }
  }
}

/** Flights are told apart by their distance: day × 1000 + number. */
function dayOf(index: number): Day {
  const startMs = FROM_MS + index * DAY_MS
  const flights = Array.from({ length: 20 }, (_, flight) => ({
    features: { distance: index * 1_000 + flight } as FlightFeatures,
    late: 0 as const,
  }))
  return { startMs, flights }
}
