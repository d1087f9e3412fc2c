import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { boostingDefaults, predict } from './gbdt.ts'
import {
  fitLateFlightModel,
  fromNames,
  keyFeatures,
  numberFeatures,
  servingColumns,
  toOnnx,
  type TrainingFlights,
} from './late-flight-model.ts'
import { progress, stepInput, stepNumbers, stepVariable } from './step.ts'
import type { KeyCount } from './target-encoding.ts'

/** Step `train`: learns from the features step's files and writes `model.onnx` and `metrics.json`. */

async function main(): Promise<void> {
  const options = stepNumbers(boostingDefaults)
  const connection = await (await DuckDBInstance.create(':memory:')).connect()
  const flights = await readFlights(connection, stepInput('training'))
  const counts = await readCounts(connection, stepInput('counts'))
  progress(0.1, `${flights.late.length} flights read`)

  const started = performance.now()
  const model = fitLateFlightModel(counts, flights, options, (done) => {
    if (done % 10 === 0) progress(0.1 + (0.8 * done) / options.rounds, `round ${done} of ${options.rounds}`)
  })
  const boostingSeconds = (performance.now() - started) / 1000

  write('MILLRACE_MODEL_DIR', 'model.onnx', toOnnx(model))
  const trainingLogLoss = logLoss(flights.late, predict(model.booster, servingColumns(model, flights)))
  const metrics = { rows: flights.late.length, trainingLogLoss, boostingSeconds }
  write('MILLRACE_OUTPUT_DIR', 'metrics.json', JSON.stringify(metrics, null, 2))
  progress(1, `training log loss ${trainingLogLoss.toFixed(4)}`)
}

async function readFlights(connection: DuckDBConnection, path: string): Promise<TrainingFlights> {
  const names = [...keyFeatures, ...numberFeatures, 'fold', 'late']
  const columns = await readColumns(connection, path, names)
  const numbers = (name: string) => columns[name] as number[]
  return {
    keys: fromNames(keyFeatures, (name) => columns[name] as string[]),
    numbers: fromNames(numberFeatures, (name) => Float32Array.from(numbers(name))),
    fold: Uint8Array.from(numbers('fold')),
    late: Uint8Array.from(numbers('late')),
  }
}

async function readCounts(connection: DuckDBConnection, path: string): Promise<KeyCount[]> {
  const { feature, key, fold, flights, late } = await readColumns(connection, path, [
    'feature',
    'key',
    'fold',
    'flights',
    'late',
  ])
  return feature!.map((name, row) => ({
    feature: name as string,
    key: key![row] as string,
    fold: fold![row] as number,
    flights: flights![row] as number,
    late: late![row] as number,
  }))
}

async function readColumns(
  connection: DuckDBConnection,
  path: string,
  names: string[],
): Promise<Record<string, unknown[]>> {
  const reader = await connection.runAndReadAll(`select ${names.join(', ')} from read_parquet($path)`, { path })
  const columns = reader.getColumnsJS()
  return Object.fromEntries(names.map((name, index) => [name, columns[index] ?? []]))
}

function logLoss(late: Uint8Array, probabilities: Float64Array): number {
  const losses = probabilities.map((probability, row) => -Math.log(late[row] === 1 ? probability : 1 - probability))
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length
}

function write(folderVariable: string, name: string, content: string | Uint8Array): void {
  const folder = stepVariable(folderVariable)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, name), content)
}

await main()
