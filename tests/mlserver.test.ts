import { dirname, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  install,
  processesOf,
  query,
  request,
  serving,
  showLogsOnFailure,
  train,
  until,
  type Installation,
} from './harness.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'

/*
 * MLServer as the model server of a version: the server of somebody else, unmodified. MILLRACE_TEST_MLSERVER names its
 * command, from an environment with mlserver and mlserver-sklearn.
 */

const mlserver = process.env.MILLRACE_TEST_MLSERVER
if (mlserver === undefined)
  console.warn(
    'Skipped: MLServer as a model server. To run it: python3 -m venv VENV && VENV/bin/pip install mlserver ' +
      'mlserver-sklearn && MILLRACE_TEST_MLSERVER=VENV/bin/mlserver npm test',
  )

const TRAIN = `
import json, os
import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression

rows = np.loadtxt("holdout.csv", delimiter=",", skiprows=1)
model = LogisticRegression().fit(rows[:, :2], rows[:, 2].astype(int))
folder = os.environ["MILLRACE_MODEL_DIR"]
joblib.dump(model, os.path.join(folder, "model.joblib"))
settings = {
    "name": "churn",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib", "extra": {"predict_fn": "predict_proba"}},
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "predict_proba", "datatype": "FP64", "shape": [-1, 2]}],
}
with open(os.path.join(folder, "model-settings.json"), "w") as file:
    json.dump(settings, file)
`

const READY_MS = 120_000

describe.skipIf(mlserver === undefined)('MLServer', () => {
  let project: Installation

  beforeAll(async () => {
    const python = join(dirname(mlserver!), 'python')
    const churn = {
      ...quickModel,
      params: {},
      train: { run: `'${python}' train.py`, args: false, timeout: '2m' },
      serving: {
        replicas: 1,
        drain: '5s',
        server: {
          command: `exec '${mlserver}' start "$MILLRACE_MODEL_DIR"`,
          env: { MLSERVER_PARALLEL_WORKERS: 0 },
          readyTimeout: `${READY_MS / 1_000}s`,
        },
      },
    }
    project = install({ ...quickFiles({ models: { churn } }), 'train.py': TRAIN })
    await project.up()
  })
  beforeEach(() => showLogsOnFailure(project))
  afterAll(() => project.remove())

  it('serves what scikit-learn has trained, measured through it', { timeout: 4 * READY_MS }, async () => {
    const { version } = await train(project, 'churn')
    expect(version).toMatchObject({ ref: 'churn@1', gate: { verdict: 'passed' } })
    expect(version!.gate!.metrics['auc']).toBeGreaterThan(0.8)
    const { url } = await serving(project, 'churn', undefined, READY_MS)
    const { status, body } = await request(url!, { id: 'mine', inputs: row(5, 0) })
    expect({ status, body }).toMatchObject({ status: 200, body: { model_name: 'churn' } })
    expect(body).toMatchObject({ id: 'mine', model_name: 'churn', outputs: [{ name: 'predict_proba', shape: [1, 2] }] })
    const [, positive] = (body as { outputs: { data: number[] }[] }).outputs[0]!.data
    expect(positive).toBeGreaterThan(0.95)
    const rows = await until('the prediction in the lake', async () => {
      const found = await query(project, 'select a, predict_proba[2] > 0.95 from "churn"')
      return found.length > 0 ? found : null
    })
    expect(rows).toEqual([[5, true]])
    expect((await request(url!, { inputs: row(5, 0).map((x) => ({ ...x, datatype: 'FP99' })) })).status).toBe(422)
  })

  it('leaves no process behind', async () => {
    await project.down()
    expect(await processesOf(project)).toEqual([])
  })
})
