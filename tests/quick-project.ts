import { logisticModel } from '../src/testing/onnx-builder.ts'
import { seededRandom } from '../src/kernel/stats/random.ts'

/*
 * A project whose training takes milliseconds: the models lie in the project's folder, and a training copies the one
 * that its parameter `file` names. Everything after it, from the evaluation on, is real.
 */

export const COPY = 'cp "$MILLRACE_PARAM_FILE" "$MILLRACE_MODEL_DIR/model.onnx"'
const ROWS = 400
/** The holdout's labels follow 2a − b. */
const TRUE_WEIGHTS = [2, -1] as const

/** What each model of these tests has unless it says otherwise. */
export const quickModel = {
  task: 'binary',
  label: 'y',
  holdout: 'holdout.csv',
  features: ['a', 'b'],
  params: { file: 'good.onnx' },
  train: { run: COPY, args: false, timeout: '60s' },
  gate: { resamples: 500, margin: 0.01 },
  release: { when: 'always', strategy: 'immediate', preflight: { rows: 20 } },
  serving: { replicas: 1, drain: '2s' },
}

/** millrace.yaml, which takes JSON too, the models with their data, and a holdout. */
export function quickFiles(
  project: { models: Record<string, object> } & Record<string, unknown>,
): Record<string, string | Uint8Array> {
  const [first, second] = TRUE_WEIGHTS
  return {
    'millrace.yaml': JSON.stringify(
      { name: 'quick', snapshotIgnore: ['data/**'], storage: { minFree: '10MB' }, ...project },
      null,
      2,
    ),
    'holdout.csv': table(ROWS),
    'good.onnx': logisticModel({ weights: [first * 0.8, second * 0.8] }),
    'better.onnx': logisticModel({ weights: [first, second] }),
    'worse.onnx': logisticModel({ weights: [-first, -second] }),
  }
}

/** Rows `a,b,y` of which the weights tell the truth. */
export function table(rows: number, seed = 1): string {
  const random = seededRandom(seed)
  const [first, second] = TRUE_WEIGHTS
  const lines = Array.from({ length: rows }, () => {
    const [a, b] = [random.normal(), random.normal()]
    const y = random.uniform() < 1 / (1 + Math.exp(-(first * a + second * b))) ? 1 : 0
    return `${a.toFixed(4)},${b.toFixed(4)},${y}`
  })
  return `a,b,y\n${lines.join('\n')}\n`
}

/** One row as a request to the quick model. */
export const row = (a: number, b: number) => [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [a, b] }]
