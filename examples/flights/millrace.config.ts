import { readFileSync } from 'node:fs'
import { defineModel, defineProject } from 'millrace'

/** Every flight of the last weeks with what was known when it left; the training step reads the same file. */
const features = readFileSync(new URL('features.sql', import.meta.url), 'utf8').trim()

/** Will this flight arrive more than 15 minutes late? Asked when it leaves. */
const lateFlight = defineModel({
  task: 'binary',
  label: 'late',

  // Two steps: SQL makes the features, then trees are trained on them (train/train.ts writes model.onnx).
  steps: {
    features: {
      run: 'node train/features.ts',
      inputs: { weeks: 'data/weeks/*.parquet' },
      timeout: '5m',
    },
    train: {
      run: 'node train/train.ts',
      inputs: {
        training: 'steps.features/training.parquet',
        counts: 'steps.features/counts.parquet',
      },
      timeout: '10m',
    },
  },
  params: { rounds: 60, depth: 5, learningRate: 0.15 },

  // Each file is one week of flights; two new ones start a training.
  on: { newData: 'data/weeks/*.parquet', atLeast: 2, settle: '500ms' },

  // The newest week: the steps above stop where it begins. 20,000 of its flights, the same ones at every evaluation.
  holdout: {
    sql: `
      select late, departure_hour, origin, destination, route, route_slot,
             distance, hour, dow, origin_late, destination_late, origin_recent
      from (${features})
      where split = 'holdout'
      order by shuffle, departure, late
      limit 20000`,
  },

  gate: {
    metrics: { auc: { min: 0.65 } },
    versusChampion: 'nonInferiority',
    margin: 0.003,
    // Flights that leave in the same hour are late together (one storm, one full airport), so 20,000 flights say less
    // than 20,000 coins. Days would be the safest clusters, but a week has only seven of them, too few to resample;
    // hours give about 150, and a measured interval 1.1 to 1.6 times as wide as single flights would.
    cluster: 'departure_hour',
    minClusters: 100,
  },
  // What passes the gate without being proven better stays spare.
  release: { when: 'better' },

  serving: { replicas: 2 },
  // Each answer waits until it is on disk: some milliseconds here, and nothing is ever missing in the lake.
  log: { mode: 'durable' },
})

export default defineProject({
  name: 'flights',
  models: { 'late-flight': lateFlight },
  snapshotIgnore: ['data'],
})
