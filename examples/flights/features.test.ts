import { mkdtemp, rm } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'

const features = readFileSync(new URL('features.sql', import.meta.url), 'utf8')

interface Flight {
  date: string
  delay?: number
  origin?: string
  destination?: string
  distance?: number
}

describe('features.sql', () => {
  let folder: string
  let instance: DuckDBInstance
  let connection: DuckDBConnection

  beforeAll(async () => {
    instance = await DuckDBInstance.create(':memory:')
    connection = await instance.connect()
  })
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flights-features-'))
    return () => rm(folder, { recursive: true })
  })
  afterAll(() => instance.closeSync())

  it('puts the last whole week before as-of into the holdout and the six before it into training', async () => {
    await land(weekly(10))
    const rows = await read(
      '2001-03-12 00:00',
      'select split, min(departure)::varchar, max(departure)::varchar, count(*)::int',
    )
    expect(rows).toEqual([
      ['holdout', '2001-03-05 12:00:00', '2001-03-05 12:00:00', 1],
      ['training', '2001-01-22 12:00:00', '2001-02-26 12:00:00', 6],
    ])
  })

  it('takes the week before where the week of as-of has not ended or not landed', async () => {
    await land(weekly(8))
    const holdout = `select split, max(departure)::varchar`
    expect(await read('2001-02-14 09:30', holdout)).toContainEqual(['holdout', '2001-02-05 12:00:00'])
    expect(await read('2001-06-01 00:00', holdout)).toContainEqual(['holdout', '2001-02-19 12:00:00'])
  })

  it("counts yesterday's late flights, drawn towards a fifth by 20 flights", async () => {
    await land([
      ...times(10, { date: '2001-01-03 08:00', delay: 60 }),
      ...times(30, { date: '2001-01-02 08:00', delay: 60 }),
      { date: '2001-01-04 08:00' },
    ])
    expect(await flightAt('2001-01-04 08:00', 'origin_late')).toBeCloseTo((10 + 4) / (10 + 20), 5)
    expect(await flightAt('2001-01-02 08:00', 'origin_late')).toBeCloseTo(0.2, 5)
  })

  it('lets a day end at four in the morning: what left at one is still in the air at midnight', async () => {
    await land([
      ...times(10, { date: '2001-01-03 01:00', delay: 60 }),
      { date: '2001-01-03 09:00' },
      { date: '2001-01-04 09:00' },
    ])
    expect(await flightAt('2001-01-03 09:00', 'origin_late')).toBeCloseTo((10 + 4) / 30, 5)
    expect(await flightAt('2001-01-04 09:00', 'origin_late')).toBeCloseTo(4 / 21, 5)
  })

  it('reads of today only what left the airport 7 to 12 hours ago', async () => {
    const at = (hour: string) => times(10, { date: `2001-01-03 ${hour}`, delay: 60 })
    for (const [hour, counts] of [
      ['05:59', false],
      ['06:00', true],
      ['11:59', true],
      ['12:00', false],
    ] as const) {
      await land([...at(hour), { date: '2001-01-03 18:30' }])
      expect(await flightAt('2001-01-03 18:30', 'origin_recent')).toBeCloseTo(counts ? 14 / 30 : 0.2, 5)
    }
  })

  it('never lets a flight see an outcome of its own hour, of the six hours before it, or of later', async () => {
    const flights = manyFlights(700)
    await land(flights)
    const before = await knownAt('2001-01-05 14:00')
    await land(flights.map((flight) => (flight.date >= '2001-01-05 08:00' ? { ...flight, delay: 500 } : flight)))
    const after = await knownAt('2001-01-05 14:00')
    expect(before.length).toBeGreaterThan(3)
    expect(after).toEqual(before)
    await land(flights.map((flight) => (flight.date < '2001-01-05 04:00' ? { ...flight, delay: 500 } : flight)))
    expect(await knownAt('2001-01-05 14:00')).not.toEqual(before) // the test can tell the difference
  })

  it('calls a flight late from 16 minutes on and names its route and two-hour slot', async () => {
    await land([
      { date: '2001-01-03 13:45', delay: 15, distance: 432 },
      { date: '2001-01-04 13:45', delay: 16 },
    ])
    const [early, late] = await read(
      '2001-01-08 00:00',
      'select late::int, route, route_slot, hour, dow, distance',
      'order by departure',
    )
    expect(early).toEqual([0, 'ATL-ORD', 'ATL-ORD@6', 13.75, 3, 432])
    expect(late![0]).toBe(1)
  })

  async function land(flights: Flight[]): Promise<void> {
    const values = flights.map(
      ({ date, delay = 0, origin = 'ATL', destination = 'ORD', distance = 600 }) =>
        `(timestamp '${date}', ${delay}, ${distance}, '${origin}', '${destination}')`,
    )
    await connection.run(
      `copy (from (values ${values.join(', ')}) as flights(date, delay, distance, origin, destination))
       to '${join(folder, 'weeks.parquet')}' (format parquet)`,
    )
  }

  async function read(asOf: string, select: string, rest = 'group by all order by all'): Promise<unknown[][]> {
    await connection.run(`set variable as_of = timestamp '${asOf}'`)
    await connection.run(`set variable weeks = '${join(folder, '*.parquet')}'`)
    return (await connection.runAndReadAll(`${select} from (${features}) ${rest}`)).getRowsJS() as unknown[][]
  }

  async function flightAt(departure: string, feature: string): Promise<number> {
    const rows = await read(
      '2001-01-08 00:00',
      `select ${feature}`,
      `where departure = timestamp '${departure}' limit 1`,
    )
    return rows[0]![0] as number
  }

  /** All features of the flights that leave in the hour after a moment. */
  async function knownAt(moment: string): Promise<unknown[][]> {
    return read(
      '2001-01-08 00:00',
      'select * exclude (late, shuffle) replace (departure::varchar as departure, departure_hour::varchar as departure_hour)',
      `where departure_hour = timestamp '${moment}' order by all`,
    )
  }
})

const times = (count: number, flight: Flight): Flight[] => Array.from({ length: count }, () => flight)

/** One flight each Monday noon from the first of January on. */
function weekly(weeks: number): Flight[] {
  return Array.from({ length: weeks }, (_, week) => {
    const noon = new Date(Date.UTC(2001, 0, 1 + 7 * week, 12))
    return { date: noon.toISOString().slice(0, 16).replace('T', ' ') }
  })
}

/** Flights of the first week of January from three airports, about every third late. */
function manyFlights(count: number): Flight[] {
  return Array.from({ length: count }, (_, index) => {
    const time = new Date(Date.UTC(2001, 0, 1, 0, index * 11))
    return {
      date: time.toISOString().slice(0, 16).replace('T', ' '),
      delay: (index * 7919) % 3 === 0 ? 30 : 0,
      origin: ['ATL', 'ORD', 'DFW'][index % 3]!,
      destination: ['ORD', 'DFW', 'ATL'][index % 3]!,
    }
  })
}
