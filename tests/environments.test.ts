import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeEach, expect, it } from 'vitest'
import { loadProject } from '../src/config/load.ts'
import { customerColumns, measureOnHoldout, trainTemplate } from '../src/testing/template-training.ts'
import {
  cleanEnvironment,
  install,
  predict,
  runCommand,
  serving,
  showLogsOnFailure,
  train,
  type Installation,
} from './harness.ts'
import { quickFiles, quickModel, row } from './quick-project.ts'

/* Steps that run in an environment of their own, built from a lock file: from nothing to a served prediction. */

const PYTHON_MS = 900_000
const NODE_MS = 300_000

let project: Installation
beforeEach(() => {
  project = install()
  showLogsOnFailure(project)
  return () => project.remove()
})

const customer = [
  ...Object.entries({ tenure_months: 3, monthly_fee: 49.9, support_calls: 4, days_since_login: 21, discount: 0 }).map(
    ([name, value]) => ({ name, datatype: 'FP32', shape: [1, 1], data: [value] }),
  ),
  { name: 'plan', datatype: 'BYTES', shape: [1, 1], data: ['basic'] },
]

/** Each with the time at which it was complete. */
function builtEnvironments(): string[][] {
  const dir = join(project.dataDir, 'environments')
  return readdirSync(dir).map((name) => [name, readFileSync(join(dir, name, 'complete'), 'utf8')])
}

/** The template asks for Python 3: this one is to be found first. */
function usePython(command: string): void {
  if (command.includes('/')) project.env['PATH'] = `${dirname(command)}:${cleanEnvironment()['PATH']}`
}

const python = process.env['MILLRACE_TEST_PYTHON']
const howToRun = ' (set MILLRACE_TEST_PYTHON to a python3 of 3.11 to 3.13 that has venv to run)'

it.skipIf(python === undefined)(
  `trains with scikit-learn by the template, in a virtual environment that is built once${python === undefined ? howToRun : ''}`,
  { timeout: PYTHON_MS },
  async () => {
    await project.millrace(['init', '--template', 'sklearn', '.'])
    usePython(python!)
    await project.up()
    const endpoint = await serving(project, 'churn', 'churn@1', PYTHON_MS)
    const { lineage, gate } = await project.api.versions.get({ ref: 'churn@1' })
    expect(lineage.environments).toEqual([
      { step: 'train', environment: expect.stringMatching(/^python sha256:/), reproducible: true },
    ])
    expect(gate).toMatchObject({ verdict: 'passed' })
    const { score } = await predict(endpoint.url!, customer)
    expect(score).toBeGreaterThan(0)
    expect(score).toBeLessThan(1)

    // The second run takes what is there.
    const built = builtEnvironments()
    expect(built).toHaveLength(1)
    const { run } = await train(project, 'churn')
    expect(run.status).toBe('succeeded')
    expect(builtEnvironments()).toEqual(built)

    // What it makes there is worth what the template promises, by arithmetic of the test's own.
    const { gate: asked, pipeline } = (await loadProject({ cwd: project.folder })).project.models[0]!
    const interpreter = join(project.dataDir, 'environments', built[0]![0]!, 'venv/bin/python')
    const args = Object.entries(pipeline.params).flatMap(([name, value]) => [`--${name}`, String(value)])
    const { model, metrics } = await trainTemplate(project.folder, interpreter, ['train.py', ...args], pipeline.params)
    expect(metrics).toMatchObject({ rows: 1_400, train: { logLoss: expect.any(Number), auc: expect.any(Number) } })
    const measured = await measureOnHoldout(project.folder, model, 'probabilities')
    expect(measured.inputs).toEqual(customerColumns)
    expect(measured.auc).toBeGreaterThan(asked.thresholds[0]!.min!)
    expect(measured.logLoss).toBeLessThan(measured.constant - 0.02)
  },
)

it('trains with the packages of a Node lock file, which are installed once', { timeout: NODE_MS }, async () => {
  const nodeModel = {
    ...quickModel,
    environment: { node: String(process.versions.node.split('.')[0]), lock: 'package-lock.json' },
    train: { run: 'node train.mjs', timeout: '60s' },
  }
  const files = quickFiles({ models: { coin: nodeModel } })
  for (const [path, content] of Object.entries(files)) project.write(path, content)
  project.write(
    'package.json',
    JSON.stringify({ name: 'trainer', version: '1.0.0', private: true, dependencies: { 'is-number': '7.0.0' } }),
  )
  // Of the environment's packages, found by import as by require, with parameters that arrive as arguments.
  project.write(
    'train.mjs',
    `import { copyFileSync } from 'node:fs'
     import { createRequire } from 'node:module'
     import isNumber from 'is-number'
     if (!isNumber('5') || createRequire(import.meta.url)('is-number') !== isNumber) process.exit(3)
     copyFileSync(process.argv[process.argv.indexOf('--file') + 1], process.env.MILLRACE_MODEL_DIR + '/model.onnx')`,
  )
  const locked = await runCommand(
    ['install', '--package-lock-only', '--no-audit', '--prefer-offline'],
    { cwd: project.folder },
    'npm',
  )
  expect(locked).toMatchObject({ code: 0 })
  await project.up()
  const first = await train(project, 'coin')
  expect(first).toMatchObject({
    run: { status: 'succeeded' },
    version: {
      status: 'passed',
      lineage: {
        environments: [{ step: 'train', environment: expect.stringMatching(/^node sha256:/), reproducible: true }],
      },
    },
  })
  const { url } = await serving(project, 'coin', 'coin@1')
  expect(await predict(url!, row(1, 0))).toMatchObject({ version: '1' })

  const built = builtEnvironments()
  expect(built).toHaveLength(1)
  const second = await train(project, 'coin', { file: 'better.onnx' })
  expect(second.version?.lineage.environments).toEqual(first.version?.lineage.environments)
  expect(builtEnvironments()).toEqual(built)
})

it('says what is missing where an environment can not be built', async () => {
  const lockless = {
    ...quickModel,
    environment: { node: String(process.versions.node.split('.')[0]), lock: 'package-lock.json' },
  }
  const futuristic = { ...quickModel, environment: { python: '9.9', lock: 'requirements.lock' } }
  for (const [path, content] of Object.entries(quickFiles({ models: { lockless, futuristic } })))
    project.write(path, content)
  project.write('requirements.lock', '')
  await project.up()
  const [without, unknown] = await Promise.all([train(project, 'lockless'), train(project, 'futuristic')])
  expect(without.run).toMatchObject({
    status: 'failed',
    why: expect.stringMatching(/there is no file '.*package-lock\.json'/),
  })
  expect(unknown.run).toMatchObject({ status: 'failed', why: expect.stringMatching(/there is no Python 9\.9; /) })
})
