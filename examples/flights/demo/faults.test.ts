import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DuckDBInstance } from '@duckdb/node-api'
import type { encodeTarget } from '../train/target-encoding.ts'
import { applyEdit, faultNames, faults, withWrongRequests, type FaultName } from './faults.ts'
import type { FlightFeatures } from './gateway-client.ts'
import { scenarioOf } from './scenario.ts'

const DAY_MS = 86_400_000
const flight = {
  origin: 'ATL',
  distance: 600,
  origin_late: 0.3,
  destination_late: 0.2,
  origin_recent: 0.25,
} as FlightFeatures

describe('the faults', () => {
  it.each(faultNames)('%s: its edits fit the files as they are, each exactly once', (name) => {
    const { setUp, commit } = faults[name]
    for (const edit of [...setUp, ...commit]) {
      const text = readFileSync(new URL(`../${edit.file}`, import.meta.url), 'utf8')
      const edited = applyEdit(text, edit)
      expect(edited).toContain(edit.replace)
      expect(edited).not.toBe(text)
    }
  })

  it('refuses an edit whose place is gone or is not the only one', () => {
    const edit = { file: 'x.sql', find: 'hour', replace: 'minute' }
    expect(() => applyEdit('select day', edit)).toThrow("x.sql has 'hour' 0 times")
    expect(() => applyEdit('hour + hour', edit)).toThrow('2 times')
    expect(applyEdit('select hour', edit)).toBe('select minute')
  })

  it('replaces texts as they are, dollar signs too', () => {
    const { commit } = faults.leakage
    expect(applyEdit(commit[0]!.find, commit[0]!)).toContain('limit ${SAMPLE_ROWS}')
  })

  it('breaks training or requests, never both', () => {
    for (const { commit, request, inputs, expected } of Object.values(faults)) {
      expect(commit.length > 0).toBe(request === null)
      expect(inputs.length > 0).toBe(request !== null)
      expect(expected === 'monitor').toBe(request !== null)
    }
  })

  it('sends kilometres for about two flights in three, and leaves the others and their other features alone', () => {
    const origins = Array.from({ length: 676 }, (_, n) => `${letter(n / 26)}${letter(n)}X`)
    const changed = origins.map((origin) => faults.kilometres.request!({ ...flight, origin }))
    const wrong = changed.filter((features) => features !== null)
    expect(wrong.length / origins.length).toBeGreaterThan(0.6)
    expect(wrong.length / origins.length).toBeLessThan(0.73)
    expect(wrong[0]).toEqual({ ...flight, origin: wrong[0]!.origin, distance: 965 })
    expect(flight.distance).toBe(600)
  })

  it("sends 0 for yesterday's rates of every flight, and today's as they are", () => {
    expect(faults.outage.request!(flight)).toEqual({ ...flight, origin_late: 0, destination_late: 0 })
  })

  it('come on a day within their calendar, with days before them as they should be', () => {
    for (const name of faultNames) {
      const { fromMs, untilMs, fault } = scenarioOf(name)
      expect(fault!.onsetMs).toBeGreaterThanOrEqual(fromMs + 2 * DAY_MS)
      expect(fault!.onsetMs).toBeLessThan(untilMs - 5 * DAY_MS)
    }
    expect(scenarioOf(null).fault).toBeNull()
  })
})

describe('wrong requests', () => {
  const days = [0, 1].map((day) => ({ startMs: day * DAY_MS, flights: [{ features: flight, late: 1 as const }] }))

  it('begin on their day, are marked, and keep the truth', () => {
    const [before, after] = withWrongRequests(days, faults.outage, DAY_MS)
    expect(before).toEqual(days[0])
    expect(after!.flights).toEqual([
      { features: { ...flight, origin_late: 0, destination_late: 0 }, late: 1, wrong: true },
    ])
    expect(days[1]!.flights[0]!.features.origin_late).toBe(0.3)
  })

  it('are none where training is at fault', () => {
    expect(withWrongRequests(days, faults.utc, 0)).toEqual(days)
  })
})

/** The edited files do what their fault says. */
describe('a commit', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flights-faults-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('of utc shifts the hour by five, around midnight too, and nothing else', async () => {
    const [before, after] = [await rows(), await rows('utc')]
    expect(before.map(({ hour }) => hour)).toEqual([13.75, 21])
    expect(after.map(({ hour }) => hour)).toEqual([18.75, 2])
    expect(after.map((row) => ({ ...row, hour: 0 }))).toEqual(before.map((row) => ({ ...row, hour: 0 })))
  })

  it('of codes writes airports, routes and slots in lower case, and leaves the numbers alone', async () => {
    const [before, after] = [await rows(), await rows('codes')]
    expect(after[0]).toEqual({
      ...before[0],
      origin: 'atl',
      destination: 'ord',
      route: 'atl-ord',
      route_slot: 'atl-ord@6',
    })
  })

  it('of leakage lets a flight see its own outcome in the rate of its route', async () => {
    const counts = [0, 1].map((fold) => ({ feature: 'route', key: 'ATL-ORD', fold, flights: 1, late: fold }))
    const asItIs = await encoding()
    const leaking = await encoding('leakage')
    // The flight of fold 1 was late: out of its fold nothing says so.
    expect(asItIs(counts, 'route').outOfFold('ATL-ORD', 1)).toBeLessThan(0.5)
    expect(leaking(counts, 'route').outOfFold('ATL-ORD', 1)).toBe(leaking(counts, 'route').rates.get('ATL-ORD'))
  })

  async function encoding(fault?: FaultName): Promise<typeof encodeTarget> {
    const path = join(folder, `encoding-${fault ?? 'as-it-is'}.ts`)
    await writeFile(path, edited('train/target-encoding.ts', fault))
    return ((await import(path)) as { encodeTarget: typeof encodeTarget }).encodeTarget
  }

  /** Two flights of the newest week with the features that training would read. */
  async function rows(fault?: FaultName): Promise<Record<string, unknown>[]> {
    const connection = await (await DuckDBInstance.create(':memory:')).connect()
    const weeks = join(folder, 'weeks.parquet')
    await connection.run(
      `copy (from (values
         (timestamp '2001-01-03 13:45', 20, 600, 'ATL', 'ORD'),
         (timestamp '2001-01-04 21:00', 0, 700, 'DFW', 'ATL')
       ) as flights(date, delay, distance, origin, destination)) to '${weeks}' (format parquet)`,
    )
    await connection.run(`set variable weeks = '${weeks}'`)
    await connection.run(`set variable as_of = timestamp '2001-01-08'`)
    const features = 'late::int as late, origin, destination, route, route_slot, distance, hour, dow, origin_late'
    const sql = `select ${features} from (${edited('features.sql', fault)}) order by departure`
    return (await connection.runAndReadAll(sql)).getRowObjectsJS()
  }
})

function edited(file: string, fault?: FaultName): string {
  const text = readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')
  const edits = fault === undefined ? [] : faults[fault].commit
  return edits.filter((edit) => edit.file === file).reduce(applyEdit, text)
}

const letter = (index: number) => String.fromCharCode(65 + (Math.floor(index) % 26))
