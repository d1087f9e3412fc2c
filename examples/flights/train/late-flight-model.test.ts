import { describe, expect, it } from 'vitest'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { boostingDefaults, predict } from './gbdt.ts'
import {
  fitLateFlightModel,
  fromNames,
  keyFeatures,
  numberFeatures,
  servingColumns,
  toOnnx,
  type Flights,
  type TrainingFlights,
} from './late-flight-model.ts'
import type { KeyCount } from './target-encoding.ts'

describe('the late-flight model as ONNX', () => {
  it("answers what the trainer's own prediction says, to a millionth", async () => {
    const training = randomFlights(5_000, 1)
    const model = fitLateFlightModel(countKeys(training), training, boostingDefaults)
    const unseen = randomFlights(3_000, 2)
    const own = predict(model.booster, servingColumns(model, unseen))
    const served = await run(toOnnx(model), unseen)
    expect(served).toHaveLength(3_000)
    expect(Math.max(...own.map((probability, row) => Math.abs(probability - served[row]!)))).toBeLessThan(1e-6)
    expect(new Set(served).size).toBeGreaterThan(500)
  })

  it('goes the same way as the trainer for values that lie exactly on a threshold', async () => {
    const training = randomFlights(4_000, 3)
    const model = fitLateFlightModel(countKeys(training), training, { ...boostingDefaults, rounds: 5 })
    const column = keyFeatures.length + numberFeatures.indexOf('hour')
    const thresholds = model.booster.trees.flatMap((tree) =>
      tree.threshold.filter((_, n) => tree.feature[n] === column),
    )
    expect(thresholds.length).toBeGreaterThan(3)
    const flights = randomFlights(thresholds.length, 4)
    flights.numbers.hour = Float32Array.from(thresholds)
    const served = await run(toOnnx(model), flights)
    predict(model.booster, servingColumns(model, flights)).forEach((probability, row) => {
      expect(served[row]).toBeCloseTo(probability, 6)
    })
  })

  it('gives keys that training never saw the usual rate', async () => {
    const training = randomFlights(2_000, 5)
    const model = fitLateFlightModel(countKeys(training), training, { ...boostingDefaults, rounds: 10 })
    const flights = randomFlights(50, 6)
    for (const key of keyFeatures) flights.keys[key] = flights.keys[key].map((value) => value.toLowerCase())
    const columns = servingColumns(model, flights)
    expect(columns[0]!.every((rate) => rate === model.encodings.origin.usualRate)).toBe(true)
    const served = await run(toOnnx(model), flights)
    predict(model.booster, columns).forEach((probability, row) => expect(served[row]).toBeCloseTo(probability, 6))
  })

  it('names its inputs as the columns, texts before numbers, and one output', async () => {
    const training = randomFlights(500, 7)
    const model = fitLateFlightModel(countKeys(training), training, { ...boostingDefaults, rounds: 1 })
    const session = await InferenceSession.create(toOnnx(model), { intraOpNumThreads: 1 })
    expect(session.inputNames).toEqual([...keyFeatures, ...numberFeatures])
    expect(session.outputNames).toEqual(['late_probability'])
    await session.release()
  })

  it('does not believe rare keys blindly: pure noise stays near the usual rate', () => {
    const flights = randomFlights(4_000, 8, () => 0.2)
    flights.keys.route_slot = flights.keys.route_slot.map((_, row) => `key ${row % 2_000}`)
    const model = fitLateFlightModel(countKeys(flights), flights, { ...boostingDefaults, minHessian: 40, rounds: 10 })
    const probabilities = predict(model.booster, servingColumns(model, randomFlights(2_000, 9)))
    expect(Math.max(...probabilities)).toBeLessThan(0.4)
  })
})

async function run(onnx: Uint8Array, flights: Flights): Promise<Float32Array> {
  const session = await InferenceSession.create(onnx, { intraOpNumThreads: 1 })
  const rows = flights.keys.origin.length
  const answers = await session.run({
    ...fromNames(keyFeatures, (name) => new Tensor('string', flights.keys[name], [rows, 1])),
    ...fromNames(numberFeatures, (name) => new Tensor('float32', flights.numbers[name], [rows, 1])),
  })
  await session.release()
  return answers['late_probability']!.data as Float32Array
}

/** Flights between ten airports, later in the day and from some airports more often late. */
function randomFlights(
  rows: number,
  seed: number,
  chance = (origin: number, hour: number) => 0.05 + 0.04 * origin + 0.015 * hour,
): TrainingFlights {
  const random = generator(seed)
  const airports = Array.from({ length: rows }, () => [Math.floor(random() * 10), Math.floor(random() * 10)] as const)
  const hour = Float32Array.from({ length: rows }, () => 24 * random())
  const name = (airport: number) => `AP${airport}`
  return {
    keys: {
      origin: airports.map(([from]) => name(from)),
      destination: airports.map(([, to]) => name(to)),
      route: airports.map(([from, to]) => `${name(from)}-${name(to)}`),
      route_slot: airports.map(([from, to], row) => `${name(from)}-${name(to)}@${Math.floor(hour[row]! / 2)}`),
    },
    numbers: {
      distance: Float32Array.from({ length: rows }, () => 100 + 2_500 * random()),
      hour,
      dow: Float32Array.from({ length: rows }, () => 1 + Math.floor(7 * random())),
      origin_late: Float32Array.from({ length: rows }, random),
      destination_late: Float32Array.from({ length: rows }, random),
      origin_recent: Float32Array.from({ length: rows }, random),
    },
    fold: Uint8Array.from({ length: rows }, () => Math.floor(5 * random())),
    late: Uint8Array.from(airports, ([from], row) => Number(random() < chance(from, hour[row]!))),
  }
}

function countKeys(flights: TrainingFlights): KeyCount[] {
  const counts = new Map<string, KeyCount>()
  for (const feature of keyFeatures) {
    flights.keys[feature].forEach((key, row) => {
      const fold = flights.fold[row]!
      const count = counts.get(`${feature} ${fold} ${key}`) ?? { feature, key, fold, flights: 0, late: 0 }
      counts.set(`${feature} ${fold} ${key}`, {
        ...count,
        flights: count.flights + 1,
        late: count.late + flights.late[row]!,
      })
    })
  }
  return [...counts.values()]
}

/** Numbers from 0 to 1, the same for the same seed (a linear congruential generator). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
