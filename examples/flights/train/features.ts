import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { progress, stepInput, stepVariable } from './step.ts'

/**
 * Step `features`: from the landed weeks to what the training step reads.
 * - `training.parquet`: a sample of the training weeks' flights with their features, `late` and `fold`;
 * - `counts.parquet`: late and total flights by feature, key and fold, of all of the training weeks' flights.
 */

/** Flights that the trees learn from; more of them make training longer and the model hardly better. */
const SAMPLE_ROWS = 60_000
const FOLDS = 5

async function main(): Promise<void> {
  const output = stepVariable('MILLRACE_OUTPUT_DIR')
  mkdirSync(output, { recursive: true })
  const connection = await (await DuckDBInstance.create(':memory:')).connect()
  await computeFeatures(connection)
  progress(0.6, 'features computed')
  await copyTo(join(output, 'training.parquet'), connection, sampleSql)
  await copyTo(join(output, 'counts.parquet'), connection, countsSql)
  progress(1, 'written')
}

async function computeFeatures(connection: DuckDBConnection): Promise<void> {
  const asOf = stepVariable('MILLRACE_AS_OF').replace(/Z$/, '')
  await connection.run('set variable as_of = $asOf::timestamp', { asOf })
  await connection.run('set variable weeks = $weeks::varchar', { weeks: stepInput('weeks') })
  const features = readFileSync(new URL('../features.sql', import.meta.url), 'utf8')
  await connection.run(
    `create temp table training as
     select *, (shuffle % ${FOLDS})::utinyint as fold from (${features}) where split = 'training'`,
  )
}

/** The order makes the sample, and with it the model, the same at every run. */
const sampleSql = `
  select * exclude (split, departure_hour, shuffle)
  from training
  order by shuffle, departure, late
  limit ${SAMPLE_ROWS}`

const countsSql = `
  select feature, key, fold, count(*)::integer as flights, sum(late)::integer as late
  from (unpivot training on origin, destination, route, route_slot into name feature value key)
  group by all
  order by all`

async function copyTo(path: string, connection: DuckDBConnection, sql: string): Promise<void> {
  await connection.run(`copy (${sql}) to '${path.replaceAll("'", "''")}' (format parquet)`)
}

await main()
