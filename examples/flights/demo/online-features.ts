import { readFileSync } from 'node:fs'
import { DuckDBInstance } from '@duckdb/node-api'
import { keyFeatures, numberFeatures } from '../train/late-flight-model.ts'
import { weekName, weekStartMs } from '../weeks.ts'
import type { FlightFeatures } from './gateway-client.ts'

/**
 * What an application that asks about flights would have in its feature store. It is computed once, before the replay
 * starts, to keep the replay fast; nothing of the future gets in, because features.sql reads for each flight only what
 * was known when it left (features.test.ts shows it).
 */

export interface FlightOfDay {
  features: FlightFeatures
  /** The truth, which the application learns one day later. */
  late: 0 | 1
  /** The request says something wrong: a fault that is being replayed. */
  wrong?: boolean
}

export interface Day {
  /** 00:00, ms since 1970. */
  startMs: number
  /** The first of a fair shuffle of the day's flights. */
  flights: FlightOfDay[]
}

export interface DayQuestion {
  /** Parquet with all flights. */
  source: string
  fromMs: number
  untilMs: number
  /** At most so many flights of each day. */
  perDay: number
}

const WEEK_MS = 7 * 86_400_000

/** Flights of each day in turn, those of a day in a random order that is the same every time. */
export async function readDays(question: DayQuestion): Promise<Day[]> {
  const days = new Map<number, Day>()
  for (const row of await readRows(question)) {
    const { day, late, ...features } = row as Record<string, unknown> & { day: bigint; late: 0 | 1 }
    const startMs = Number(day)
    if (!days.has(startMs)) days.set(startMs, { startMs, flights: [] })
    days.get(startMs)!.flights.push({ features: features as FlightFeatures, late })
  }
  return [...days.values()]
}

async function readRows(question: DayQuestion): Promise<Record<string, unknown>[]> {
  const features = readFileSync(new URL('../features.sql', import.meta.url), 'utf8')
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  await connection.run('set variable weeks = $source::varchar', { source: question.source })
  // All weeks at once: the last one as the holdout, those before as the training weeks.
  const firstMs = weekStartMs(weekName(question.fromMs))
  const weeks = Math.ceil((question.untilMs - firstMs) / WEEK_MS)
  await connection.run('set variable as_of = make_timestamp_ms($until::bigint)', {
    until: BigInt(firstMs + weeks * WEEK_MS),
  })
  await connection.run(`set variable training_weeks = ${weeks - 1}`)
  // A seventh of the flights is enough to choose from, and quicker to sort than all of them.
  const reader = await connection.runAndReadAll(
    `select epoch_ms(date_trunc('day', departure)) as day, late, ${[...keyFeatures, ...numberFeatures].join(', ')}
     from (${features})
     where departure >= make_timestamp_ms($from::bigint) and departure < make_timestamp_ms($until::bigint) and shuffle % 7 = 0
     qualify row_number() over (partition by day order by shuffle, departure, late) <= $perDay
     order by day, shuffle, departure, late`,
    {
      from: BigInt(question.fromMs),
      until: BigInt(question.untilMs),
      perDay: question.perDay,
    },
  )
  const rows = reader.getRowObjectsJS()
  connection.closeSync()
  instance.closeSync()
  return rows
}
