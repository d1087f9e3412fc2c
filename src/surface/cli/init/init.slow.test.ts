import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadProject } from '../../../config/load.ts'
import { missingForAutomation } from '../../../config/missing-for-automation.ts'
import { initProject } from './init.ts'

process.env['ORT_DISABLE_TELEMETRY'] = '1'
const run = promisify(execFile)

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-init-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

/** Runs a training command by the training contract, as a step would. */
async function train(
  dir: string,
  command: string,
  args: string[],
  params: object,
): Promise<{ model: string; metrics: unknown; stdout: string }> {
  const out = await mkdtemp(join(root, 'run-'))
  const [modelDir, outputDir] = [join(out, 'model'), join(out, 'output')]
  await Promise.all([mkdir(modelDir), mkdir(outputDir)])
  await writeFile(join(out, 'params.json'), JSON.stringify(params))
  const env = {
    PATH: process.env['PATH'],
    MILLRACE_INPUT_CUSTOMERS: join(dir, 'data/customers/*.csv'),
    MILLRACE_MODEL_DIR: modelDir,
    MILLRACE_OUTPUT_DIR: outputDir,
    MILLRACE_PARAMS: join(out, 'params.json'),
    MILLRACE_SEED: '0',
  }
  const { stdout } = await run(command, args, { cwd: dir, env })
  return {
    model: join(modelDir, 'model.onnx'),
    metrics: JSON.parse(await readFile(join(outputDir, 'metrics.json'), 'utf8')),
    stdout,
  }
}

/** Log loss and AUC on the holdout, one feed per column, in two batches to see that the number of rows is open. */
async function measure(
  dir: string,
  modelPath: string,
  output: string,
): Promise<{ inputs: readonly string[]; logLoss: number; constant: number; auc: number }> {
  const ort = await import('onnxruntime-node')
  const [header, ...lines] = (await readFile(join(dir, 'data/holdout.csv'), 'utf8')).trim().split('\n')
  const column = (name: string, from: string[]) =>
    from.map((line) => line.split(',')[header!.split(',').indexOf(name)]!)
  const session = await ort.InferenceSession.create(modelPath)
  const scores: number[] = []
  for (const batch of [lines.slice(0, 1), lines.slice(1)]) {
    const feeds = Object.fromEntries(
      session.inputNames.map((name) => {
        const values = column(name, batch)
        const tensor =
          name === 'plan'
            ? new ort.Tensor('string', values, [batch.length, 1])
            : new ort.Tensor('float32', Float32Array.from(values.map(Number)), [batch.length, 1])
        return [name, tensor]
      }),
    )
    const { data, dims } = (await session.run(feeds))[output]!
    const width = dims[1]!
    for (let row = 0; row < batch.length; row++) scores.push(Number(data[row * width + width - 1]))
  }
  await session.release()
  const labels = column('churned', lines).map(Number)
  const rate = labels.reduce((a, b) => a + b) / labels.length
  return {
    inputs: session.inputNames,
    logLoss: logLoss(labels, scores),
    constant: logLoss(
      labels,
      labels.map(() => rate),
    ),
    auc: auc(labels, scores),
  }
}

const logLoss = (labels: number[], scores: number[]) =>
  labels.reduce((sum, y, i) => sum - Math.log(y === 1 ? scores[i]! : 1 - scores[i]!), 0) / labels.length

function auc(labels: number[], scores: number[]): number {
  const [yes, no] = [1, 0].map((label) => scores.filter((_, i) => labels[i] === label)) as [number[], number[]]
  const wins = yes.flatMap((a) => no.map((b): number => (a > b ? 1 : a === b ? 0.5 : 0))).reduce((a, b) => a + b, 0)
  return wins / (yes.length * no.length)
}

const columns = ['tenure_months', 'monthly_fee', 'support_calls', 'days_since_login', 'discount', 'plan']

describe('the starter', () => {
  it('has a configuration that is complete for automatic release', async () => {
    const dir = await mkdtemp(join(root, 'starter-'))
    await initProject({ dir, template: 'starter', force: false })
    const { project } = await loadProject({ cwd: dir })
    expect(project.models.map((model) => [model.name, missingForAutomation(model)])).toEqual([['churn', []]])
  })

  it('trains with Node alone, passes its own gate, and repeats itself to the byte', async () => {
    const dir = await mkdtemp(join(root, 'starter-'))
    await initProject({ dir, template: 'starter', force: false })
    const { project } = await loadProject({ cwd: dir })
    const { gate, pipeline } = project.models[0]!
    const first = await train(dir, process.execPath, ['train.mjs', '--rounds', '300'], pipeline.params)
    expect(first.stdout).toMatch(/^millrace:progress 1\.00 "round 300"$/m)
    expect(first.metrics).toMatchObject({ rows: 1_400, train: { logLoss: expect.any(Number) } })
    const measured = await measure(dir, first.model, 'probability')
    expect(measured.inputs).toEqual(columns)
    expect(measured.auc).toBeGreaterThan(gate.thresholds.find((bound) => bound.metric === 'auc')!.min!)
    expect(measured.logLoss).toBeLessThan(measured.constant - 0.03)
    const again = await train(dir, process.execPath, ['train.mjs'], pipeline.params)
    expect(await readFile(again.model)).toEqual(await readFile(first.model))
  })

  it('takes parameters and new months, and says what is wrong with rows it cannot use', async () => {
    const dir = await mkdtemp(join(root, 'starter-'))
    await initProject({ dir, template: 'starter', force: false })
    await copyFile(join(dir, 'later/2026-03.csv'), join(dir, 'data/customers/2026-03.csv'))
    const { metrics, stdout } = await train(dir, process.execPath, ['train.mjs'], { rounds: 50 })
    expect(metrics).toMatchObject({ rows: 2_100 })
    expect(stdout).toContain('"round 50"')
    await writeFile(join(dir, 'data/customers/bad.csv'), 'tenure_months,plan,churned\nmany,basic,0\n')
    await expect(train(dir, process.execPath, ['train.mjs'], {})).rejects.toThrow(/is not a number/)
  })
})

/** Any Python from 3.11 to 3.13, e.g. MILLRACE_TEST_PYTHON=python3: packages are installed into a temporary environment. */
const python = process.env['MILLRACE_TEST_PYTHON']
if (python === undefined)
  console.log('Skipped: the scikit-learn template. Run it with MILLRACE_TEST_PYTHON=python3 (3.11 to 3.13).')

describe.skipIf(python === undefined)('the scikit-learn template', () => {
  it('trains with the packages of its lock file and passes its own gate', { timeout: 600_000 }, async () => {
    const dir = await mkdtemp(join(root, 'sklearn-'))
    await initProject({ dir, template: 'sklearn', force: false })
    const { project } = await loadProject({ cwd: dir })
    const { gate, pipeline } = project.models[0]!
    expect(pipeline.steps[0]!.environment).toEqual({ kind: 'python', python: '3', lock: 'requirements.lock' })
    const venv = join(root, 'venv')
    await run(python!, ['-m', 'venv', venv])
    await run(join(venv, 'bin/pip'), [
      'install',
      '--quiet',
      '--disable-pip-version-check',
      '-r',
      join(dir, 'requirements.lock'),
    ])
    const args = Object.entries(pipeline.params).flatMap(([name, value]) => [`--${name}`, String(value)])
    const { model, metrics } = await train(dir, join(venv, 'bin/python'), ['train.py', ...args], pipeline.params)
    expect(metrics).toMatchObject({ rows: 1_400, train: { logLoss: expect.any(Number), auc: expect.any(Number) } })
    const measured = await measure(dir, model, 'probabilities')
    expect(measured.inputs).toEqual(columns)
    expect(measured.auc).toBeGreaterThan(gate.thresholds[0]!.min!)
    expect(measured.logLoss).toBeLessThan(measured.constant - 0.02)
  })
})
