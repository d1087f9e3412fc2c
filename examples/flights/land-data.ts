import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { weekStartMs } from './weeks.ts'

/**
 * Stands in for the feed that a real project would have: each week's flights arrive as one Parquet file.
 *
 *   node land-data.ts 2001-W05 2001-W06        # into data/weeks/
 *
 * The flights come from the npm package `vega-datasets` (US flights of January to June 2001).
 */

const DAY_MS = 86_400_000

/** What a week's file holds, and what the data check kept out of it. */
export interface LandedWeek {
  week: string
  path: string
  flights: number
  /** Rows whose delay can't be true; they are left out. The whole data set has 11 of them. */
  wrong: number
}

/** Delays in minutes beyond these are typing errors: no flight lands an hour and a half early or is a day late. */
const DELAY_MIN = -90
const DELAY_MAX = 1_440
/** A feed in which more than this share of a week's rows is wrong is broken, and nothing is landed. */
const WRONG_SHARE_MAX = 0.001

export class WrongDataError extends Error {
  constructor(week: string, wrong: number, rows: number) {
    super(
      `${week}: ${wrong} of ${rows} flights have a delay outside ${DELAY_MIN} to ${DELAY_MAX} minutes, ` +
        `more than ${WRONG_SHARE_MAX * 100}%: nothing was landed. Look at the source before landing this week.`,
    )
    this.name = 'WrongDataError'
  }
}

/**
 * Writes one week's flights, columns date, delay (minutes), distance (miles), origin, destination, ordered by date.
 * The file appears whole, by rename: whoever watches the folder never sees half a week.
 * @param week - ISO week, e.g. `2001-W05`
 * @param source - Parquet with the columns above
 * @throws RangeError if `week` isn't one; WrongDataError if too many rows fail the check; Error if it has no flights
 */
export async function landWeek(week: string, folder: string, source: string = vegaFlights()): Promise<LandedWeek> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  try {
    await selectWeek(connection, week, source)
    const { flights, wrong } = await checkWeek(connection, week)
    const path = await writeWhole(connection, join(folder, `${week}.parquet`))
    return { week, path, flights, wrong }
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}

/** The package's `exports` hide its data folder, so it is found beside the package's main file. */
export function vegaFlights(): string {
  const main = fileURLToPath(import.meta.resolve('vega-datasets'))
  return join(dirname(main), '..', 'data', 'flights-3m.parquet')
}

async function selectWeek(connection: DuckDBConnection, week: string, source: string): Promise<void> {
  const startMs = weekStartMs(week)
  await connection.run(
    `create temp table week as
     select date, delay, distance, origin, destination, coalesce(delay between ${DELAY_MIN} and ${DELAY_MAX}, false) as plausible
     from read_parquet(${sqlText(source)})
     where date >= ${timestamp(startMs)} and date < ${timestamp(startMs + 7 * DAY_MS)}`,
  )
}

async function checkWeek(connection: DuckDBConnection, week: string): Promise<{ flights: number; wrong: number }> {
  const reader = await connection.runAndReadAll(
    'select count(*)::int, (count(*) filter (not plausible))::int from week',
  )
  const [rows, wrong] = reader.getRows()[0] as [number, number]
  if (rows === 0) throw new Error(`${week}: the source has no flights in this week; it covers 2001-W01 to 2001-W26.`)
  if (wrong > rows * WRONG_SHARE_MAX) throw new WrongDataError(week, wrong, rows)
  return { flights: rows - wrong, wrong }
}

async function writeWhole(connection: DuckDBConnection, path: string): Promise<string> {
  const unfinished = `${path}.${process.pid}.tmp`
  await mkdir(dirname(path), { recursive: true })
  try {
    await connection.run(
      `copy (select * exclude (plausible) from week where plausible order by date, origin, destination, distance, delay)
       to ${sqlText(unfinished)} (format parquet)`,
    )
    await rename(unfinished, path)
  } finally {
    await rm(unfinished, { force: true })
  }
  return path
}

const sqlText = (text: string) => `'${text.replaceAll("'", "''")}'`

const timestamp = (timeMs: number) => `timestamp '${new Date(timeMs).toISOString().slice(0, 19).replace('T', ' ')}'`

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({ allowPositionals: true, options: { to: { type: 'string' } } })
  if (positionals.length === 0) throw new Error('Name the weeks to land, e.g. node land-data.ts 2001-W05.')
  for (const week of positionals) {
    const landed = await landWeek(week, values.to ?? join('data', 'weeks'))
    console.log(`${landed.path}: ${landed.flights} flights, ${landed.wrong} wrong rows left out`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
