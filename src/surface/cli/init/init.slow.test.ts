import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadProject } from '../../../config/load.ts'
import { missingForAutomation } from '../../../config/missing-for-automation.ts'
import { customerColumns, measureOnHoldout, trainTemplate } from '../../../testing/template-training.ts'
import { initProject } from './init.ts'

process.env['ORT_DISABLE_TELEMETRY'] = '1'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-init-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

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
    const first = await trainTemplate(dir, process.execPath, ['train.mjs', '--rounds', '300'], pipeline.params)
    expect(first.stdout).toMatch(/^millrace:progress 1\.00 "round 300"$/m)
    expect(first.metrics).toMatchObject({ rows: 1_400, train: { logLoss: expect.any(Number) } })
    const measured = await measureOnHoldout(dir, first.model, 'probability')
    expect(measured.inputs).toEqual(customerColumns)
    expect(measured.auc).toBeGreaterThan(gate.thresholds.find((bound) => bound.metric === 'auc')!.min!)
    expect(measured.logLoss).toBeLessThan(measured.constant - 0.03)
    const again = await trainTemplate(dir, process.execPath, ['train.mjs'], pipeline.params)
    expect(again.model).toEqual(first.model)
  })

  it('takes parameters and new months, and says what is wrong with rows it cannot use', async () => {
    const dir = await mkdtemp(join(root, 'starter-'))
    await initProject({ dir, template: 'starter', force: false })
    await copyFile(join(dir, 'later/2026-03.csv'), join(dir, 'data/customers/2026-03.csv'))
    const { metrics, stdout } = await trainTemplate(dir, process.execPath, ['train.mjs'], { rounds: 50 })
    expect(metrics).toMatchObject({ rows: 2_100 })
    expect(stdout).toContain('"round 50"')
    await writeFile(join(dir, 'data/customers/bad.csv'), 'tenure_months,plan,churned\nmany,basic,0\n')
    await expect(trainTemplate(dir, process.execPath, ['train.mjs'], {})).rejects.toThrow(/is not a number/)
  })
})

/** What comes of it is seen in tests/environments.test.ts. */
it('the scikit-learn template trains in an environment of its lock file', async () => {
  const dir = await mkdtemp(join(root, 'sklearn-'))
  await initProject({ dir, template: 'sklearn', force: false })
  const { project } = await loadProject({ cwd: dir })
  expect(project.models[0]!.pipeline.steps[0]!.environment).toEqual({
    kind: 'python',
    python: '3',
    lock: 'requirements.lock',
  })
})
