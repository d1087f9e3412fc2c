import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Answer, FlightFeatures, Label } from './gateway-client.ts'
import { Ledger } from './ledger.ts'
import type { Day } from './online-features.ts'
import { Replay, type ReplayParts } from './replay.ts'

const DAY_MS = 86_400_000
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
    expect(world.asked.map(({ distance }) => distance)).toEqual([
      ...new Set(world.asked.map(({ distance }) => distance)),
    ])
    expect(world.asked).toHaveLength(3 * 5)
    expect(world.events.slice(0, 2)).toEqual(['asked 5', 'calendar 2001-01-30'])
  })

  it('sends the labels of a day when the next one begins, before it asks about that day', async () => {
    const world = new World(weeksDir, 2)
    await world.replay.days()
    expect(world.events).toEqual([
      'asked 5',
      'calendar 2001-01-30',
      'labels 5 at 2001-01-30',
      'asked 5',
      'labels 5 at 2001-01-31',
    ])
    expect(world.labels.map(({ id }) => id)).toEqual(
      world.parts.ledger.acknowledged.map(({ predictionId }) => predictionId),
    )
  })

  it('lands a week on the Monday after it, and holds the calendar from the second one until all has settled', async () => {
    const world = new World(weeksDir, 15)
    const replayed = await world.replay.days()
    expect((await readdir(weeksDir)).sort()).toEqual(['2001-W05.parquet', '2001-W06.parquet'])
    expect(replayed.weeksLanded).toBe(2)
    expect(replayed.holds).toMatchObject([{ atMs: Date.UTC(2001, 1, 12) }])
    const held = world.events.slice(world.events.indexOf('hold'), world.events.indexOf('release') + 1)
    expect(held.at(0)).toBe('hold')
    expect(held.join()).not.toContain('calendar')
    expect(held).toContain('settled run-1')
    expect(world.parts.ledger.sentWhileHeld).toBeGreaterThan(0)
  })

  it('lets the weeks from before start the first training by themselves, and asks by hand only where they do not', async () => {
    const world = new World(weeksDir, 1)
    world.hasData = true
    await world.replay.trainFirst(FROM_MS)
    expect(world.events).toEqual(['hold', 'settled run-1', 'release'])
    const without = new World(weeksDir, 1)
    await without.replay.trainFirst(FROM_MS, 20)
    expect(without.events).toEqual(['hold', 'asked by hand', 'settled run-1', 'release'])
  })

  it('refuses to go on if no version answers after the first training', async () => {
    const world = new World(weeksDir, 1)
    world.liveVersion = null
    world.hasData = true
    await expect(world.replay.trainFirst(FROM_MS)).rejects.toThrow('No version answers')
  })
})

/** Stands in for Millrace and its gateway: fires at the second file, settles at the third look. */
class World {
  readonly events: string[] = []
  readonly asked: FlightFeatures[] = []
  readonly labels: Label[] = []
  readonly parts: ReplayParts
  readonly replay: Replay
  liveVersion: string | null = 'late-flight@1'
  /** The weeks before the replay are there. */
  hasData = false
  private looks = 0
  private trained = false
  private readonly weeksDir: string

  constructor(weeksDir: string, days: number) {
    this.weeksDir = weeksDir
    this.parts = {
      millrace: this.millrace() as unknown as ReplayParts['millrace'],
      gateway: this,
      ledger: new Ledger(),
      view: { tell: () => {}, show: () => {} },
      model: 'late-flight',
      weeksDir,
      days: Array.from({ length: days }, (_, index) => this.day(index)),
      perDay: 5,
    }
    this.replay = new Replay(this.parts)
  }

  predict(flight: FlightFeatures): Promise<Answer> {
    this.asked.push(flight)
    if (this.events.at(-1)?.startsWith('asked')) this.events.pop()
    const day = Math.floor(flight.distance / 1_000)
    this.events.push(`asked ${this.asked.filter(({ distance }) => Math.floor(distance / 1_000) === day).length}`)
    return Promise.resolve({ kind: 'answered', predictionId: `p-${this.asked.length}`, version: '1', probability: 0.2 })
  }

  feedback(labels: Label[]): Promise<number> {
    this.labels.push(...labels)
    this.events.push(`labels ${labels.length} at ${labels[0]!.at.slice(0, 10)}`)
    return Promise.resolve(labels.length)
  }

  /** Flights are told apart by their distance: day × 1000 + number. */
  private day(index: number): Day {
    const startMs = FROM_MS + index * DAY_MS
    const flights = Array.from({ length: 20 }, (_, flight) => ({
      features: { distance: index * 1_000 + flight } as FlightFeatures,
      late: 0 as const,
    }))
    return { startMs, flights: index % 7 === 0 ? flights : flights.slice(0, 5) }
  }

  private millrace() {
    const say = (event: string) => Promise.resolve(void this.events.push(event))
    return {
      train: () => {
        this.hasData = true
        return say('asked by hand')
      },
      runs: async () => ((await this.hasFired()) ? [this.run()] : []),
      run: () => Promise.resolve(this.run(true)),
      versions: () =>
        Promise.resolve([{ ref: 'late-flight@1', release: this.liveVersion === null ? 'none' : 'live', why: 'x' }]),
      gate: () => Promise.resolve({ verdict: 'passed', why: 'better', checks: [] }),
      releases: () => Promise.resolve([]),
      setCalendar: (ms: number) => say(`calendar ${new Date(ms).toISOString().slice(0, 10)}`),
      holdCalendar: () => say('hold'),
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

  private async hasFired(): Promise<boolean> {
    return this.hasData || (await readdir(this.weeksDir)).length >= 2
  }

  private run(isLook = false) {
    if (isLook) this.looks++
    const settled = this.looks >= 3
    if (settled && !this.trained) this.events.push('settled run-1')
    this.trained = settled
    return {
      id: 'run-1',
      cause: 'newData',
      status: 'succeeded',
      createdAtMs: 0,
      endedAtMs: 1,
      asOfMs: 0,
      progress: 1,
      steps: [],
      outcome: { settled, version: 'late-flight@1', release: null },
    }
  }
}
