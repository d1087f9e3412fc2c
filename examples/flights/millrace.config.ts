/* oxlint-disable unicorn/no-thenable -- `then` says what a monitor does about its alarm */
import { readFileSync } from 'node:fs'
import { defineModel, defineProject } from 'millrace'

/** Every flight of the last weeks with what was known when it left; the training step reads the same file. */
const features = readFileSync(new URL('features.sql', import.meta.url), 'utf8').trim()

/** Will this flight arrive more than 15 minutes late? Asked when it leaves. */
const lateFlight = defineModel({
  task: 'binary',
  label: 'late',

  // ── Training ───────────────────────────────────────────────────────────────────────────────────────────────────
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

  // Each Monday the flights of the week before land as a new file.
  on: [
    // On the 1st of each month, at four in the morning.
    { name: 'monthly', cron: '0 4 1 * *' },
    // In between when the world has changed (see `monitors`), but not more often than every ten days: a storm is not
    // over the sooner for another model.
    { name: 'alarms', alarm: ['predictionDrift', 'quality'], coolDown: '10d' },
  ],

  // ── Proof ──────────────────────────────────────────────────────────────────────────────────────────────────────
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

  // ── Release ────────────────────────────────────────────────────────────────────────────────────────────────────
  release: {
    // What passes the gate without being proven better stays spare.
    when: 'better',
    // First it answers copies of the live requests, unseen, until 2,000 of them have their label: the holdout comes
    // from the same pipeline as the training, so only live requests show that the two disagree.
    strategy: 'shadow',
    shadow: { soak: '1s', minRequests: 500, minLabels: 2_000, maxTime: '3m' },
    // Then it has half of the traffic for a moment. These times are so short because the demo plays a day in less
    // than a second; '10m' and more is usual, and smaller steps first.
    canary: {
      steps: [{ weight: 50, soak: '2s' }],
      minRequests: 300,
      maxTime: '3m',
      margins: {
        // Answers take about a millisecond here: twice as long means little.
        latency: 3,
        // A version that has learnt from a storm answers otherwise than one from before it (an index of 0.3 was seen);
        // one that misreads its inputs differs by 1 and more.
        predictionShift: 0.6,
      },
    },
  },

  serving: { replicas: 2 },
  // Each answer waits until it is on disk: some milliseconds here, and nothing is ever missing in the lake.
  log: { mode: 'durable' },

  // ── Watching ───────────────────────────────────────────────────────────────────────────────────────────────────
  monitors: {
    window: '1d',
    // The next day it is known which flights were late.
    labelDelay: '1d',
    // What should look the same every day. The late rates don't: weather moves them from one day to the next, and
    // the model is there to make something of it. The weekday is another one each day, of course.
    drift: { psi: 0.1, columns: ['origin', 'destination', 'distance', 'hour'] },
    // More different airports and routes than the profile keeps one by one.
    unseen: { columns: ['origin', 'destination'] },
    // Two days in a row on which the answers are distributed otherwise, or are worse, are a reason to train.
    predictionDrift: { psi: 0.35, then: 'retrain' },
    quality: { worseBy: 0.05, then: 'retrain' },
  },

  // ── Retirement ─────────────────────────────────────────────────────────────────────────────────────────────────
  // The one before stays warm for a rollback. Two more are kept; the others go, and their files three weeks later.
  retirement: { keepLast: 2, superseded: true, idle: '21d', deleteAfter: '21d' },

  // ── Promises ───────────────────────────────────────────────────────────────────────────────────────────────────
  // `millrace slo` tells what is left of each. The others have the defaults of a model of normal importance.
  slos: {
    availability: 0.999,
    latency: { objective: 0.99, within: '200ms' },
    leadTime: { objective: 0.9, within: '2m' },
  },
})

export default defineProject({
  name: 'flights',
  models: { 'late-flight': lateFlight },
  snapshotIgnore: ['data'],
})
