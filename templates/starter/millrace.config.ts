// What Millrace does with this project. Check it with `millrace validate`, start it with `millrace up`.
// Every field with its default: docs/reference/config.md of Millrace.
import { defineModel, defineProject } from 'millrace'

export default defineProject({
  name: 'starter',
  models: {
    churn: defineModel({
      // What is predicted: will this customer leave within the next month (1) or stay (0)?
      task: 'binary',
      label: 'churned',

      // Rows that no training sees. Millrace measures every version on them itself.
      holdout: 'data/holdout.csv',

      // The training command. It runs in a copy of this folder, finds the input's path in MILLRACE_INPUT_CUSTOMERS and
      // writes the model to MILLRACE_MODEL_DIR. Any language will do.
      train: {
        run: 'node train.mjs',
        inputs: { customers: 'data/customers/*.csv' },
        timeout: '5m',
      },

      // Reach the command as `--rounds 300 --rate 0.5 --l2 0.001`, and as JSON in the file MILLRACE_PARAMS.
      params: { rounds: 300, rate: 0.5, l2: 0.001 },

      // Train again when a file of customers is new or changed. Try it: cp later/2026-03.csv data/customers/
      on: { newData: 'data/customers/*.csv', settle: '2s' },

      // What a version must show before it may be released: to be good enough by itself, and no worse than the one that
      // serves now by more than 0.005 log loss.
      gate: {
        metrics: { auc: { min: 0.7 } },
        versusChampion: 'nonInferiority',
        margin: 0.005,
      },

      // 'always': whatever passes the gate; the default, 'better', waits for a proven improvement. It gets all traffic at
      // once. With real traffic leave 'strategy' out: a version then gets 10% of it, 50%, and all, while it is compared with
      // the one that serves beside it, and goes back by itself if it does harm.
      release: { when: 'always', strategy: 'immediate' },

      serving: { replicas: 1 },
    }),
  },
})
