// What Millrace does with this project. Check it with `millrace validate`, start it with `millrace up`.
// Every field with its default: docs/reference/config.md of Millrace.
import { defineModel, defineProject } from 'millrace'

export default defineProject({
  name: 'sklearn',
  models: {
    churn: defineModel({
      // What is predicted: will this customer leave within the next month (1) or stay (0)?
      task: 'binary',
      label: 'churned',

      // Rows that no training sees. Millrace measures every version on them itself.
      holdout: 'data/holdout.csv',

      // Millrace builds one virtual environment per lock file, and keeps it. Python 3.11 to 3.13.
      environment: { python: '3', lock: 'requirements.lock' },

      // The training command. It runs in a copy of this folder, finds the input's path in MILLRACE_INPUT_CUSTOMERS and
      // writes the model to MILLRACE_MODEL_DIR.
      train: {
        run: 'python train.py',
        inputs: { customers: 'data/customers/*.csv' },
        timeout: '15m',
      },

      // Reach the command as `--trees 60 --rate 0.1 --leaves 4`.
      params: { trees: 60, rate: 0.1, leaves: 4 },

      // Train again when a file of customers is new or changed. Try it: cp later/2026-03.csv data/customers/
      on: { newData: 'data/customers/*.csv', settle: '2s' },

      // What a version must show before it may be released: to be good enough by itself, and no worse than the one that
      // serves now by more than 0.02 log loss (the table is small).
      gate: {
        metrics: { auc: { min: 0.7 } },
        versusChampion: 'nonInferiority',
        margin: 0.02,
      },

      // 'always': whatever passes the gate; the default, 'better', waits for a proven improvement. It gets all traffic at
      // once. With real traffic leave 'strategy' out: a version then gets 10% of it, 50%, and all, while it is compared with
      // the one that serves beside it, and goes back by itself if it does harm.
      release: { when: 'always', strategy: 'immediate' },

      serving: { replicas: 1 },
    }),
  },
})
