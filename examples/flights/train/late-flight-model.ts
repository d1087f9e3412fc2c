import { lookUpNode, treesNode, writeOnnx } from './onnx-writer.ts'
import { boost, type Booster, type BoostingOptions } from './gbdt.ts'
import { encodeTarget, type KeyCount, type TargetEncoding } from './target-encoding.ts'

/** Columns that hold a text, each replaced by its late rate. */
export const keyFeatures = ['origin', 'destination', 'route', 'route_slot'] as const
/** Columns that hold a number. `distance` in miles, `hour` 0 to 24, `dow` Monday = 1, the rest late rates, 0 to 1. */
export const numberFeatures = ['distance', 'hour', 'dow', 'origin_late', 'destination_late', 'origin_recent'] as const

export type KeyFeature = (typeof keyFeatures)[number]
export type NumberFeature = (typeof numberFeatures)[number]

/** Flights to predict, as columns of equal length. */
export interface Flights {
  keys: Record<KeyFeature, string[]>
  numbers: Record<NumberFeature, Float32Array>
}

/** Flights to learn from. `fold` is the one that each flight was counted in. */
export interface TrainingFlights extends Flights {
  fold: Uint8Array
  late: Uint8Array
}

/** Predicts whether a flight will arrive more than 15 minutes late. */
export interface LateFlightModel {
  encodings: Record<KeyFeature, TargetEncoding>
  booster: Booster
}

/**
 * @param counts - late and total flights by key and fold, of all flights of the training weeks
 * @param flights - those of them (or a sample) that the trees learn from
 */
export function fitLateFlightModel(
  counts: KeyCount[],
  flights: TrainingFlights,
  options: BoostingOptions,
  onRound?: (done: number) => void,
): LateFlightModel {
  const encodings = fromNames(keyFeatures, (feature) => encodeTarget(counts, feature))
  const columns = columnsOf(flights, (feature, key, row) => encodings[feature].outOfFold(key, flights.fold[row]!))
  return { encodings, booster: boost(columns, flights.late, options, onRound) }
}

/** The columns that the trees see when the model serves, in the order of the ONNX graph. */
export function servingColumns(model: LateFlightModel, flights: Flights): Float32Array[] {
  return columnsOf(flights, (feature, key) => {
    const { rates, usualRate } = model.encodings[feature]
    return rates.get(key) ?? usualRate
  })
}

/** The model as an ONNX file: one input per column, each `[rows, 1]`; output `late_probability` `[rows, 1]`. */
export function toOnnx({ encodings, booster }: LateFlightModel): Uint8Array {
  const rateOf = (feature: string) => `${feature}_rate`
  return writeOnnx({
    name: 'late_flight',
    inputs: [
      ...keyFeatures.map((name) => ({ name, type: 'string' as const, shape: ['rows', 1] })),
      ...numberFeatures.map((name) => ({ name, type: 'float' as const, shape: ['rows', 1] })),
    ],
    outputs: [{ name: 'late_probability', type: 'float', shape: ['rows', 1] }],
    nodes: [
      ...keyFeatures.map((key) => lookUpNode(key, rateOf(key), encodings[key].rates, encodings[key].usualRate)),
      {
        operator: 'Concat',
        inputs: [...keyFeatures.map(rateOf), ...numberFeatures],
        outputs: ['features'],
        attributes: { axis: { int: 1 } },
      },
      treesNode('features', 'log_odds', booster),
      { operator: 'Sigmoid', inputs: ['log_odds'], outputs: ['late_probability'] },
    ],
  })
}

function columnsOf(flights: Flights, rate: (feature: KeyFeature, key: string, row: number) => number): Float32Array[] {
  return [
    ...keyFeatures.map((feature) => Float32Array.from(flights.keys[feature], (key, row) => rate(feature, key, row))),
    ...numberFeatures.map((feature) => flights.numbers[feature]),
  ]
}

/** An object with one entry for each name. */
export function fromNames<Name extends string, T>(names: readonly Name[], make: (name: Name) => T): Record<Name, T> {
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<Name, T>
}
