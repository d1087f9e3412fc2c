import { expect, it } from 'vitest'
import type { ModelInput } from './input.ts'
import { holdoutInTraining, holdoutWarning } from './holdout-in-training.ts'
import type { ModelConfig } from './project.ts'
import { readProject } from './read-project.ts'

function modelOf(model: Partial<ModelInput>): ModelConfig {
  const read = readProject({ name: 'p', models: { m: { train: 'python train.py', ...model } } }, '/work')
  if (read.kind !== 'project') throw new Error(JSON.stringify(read.findings))
  return read.project.models[0]!
}

it.each<[string, Partial<ModelInput>]>([
  ['the file that starts trainings', { holdout: 'rows.csv', on: { newData: 'rows.csv' } }],
  ['one of them', { holdout: './data/2026.csv', on: [{ cron: '@daily' }, { newData: 'data/*.csv' }] }],
  ['an input of a step', { holdout: 'data/a.csv', train: { run: 'x', inputs: { rows: './data/*.csv' } } }],
  ['the same files', { holdout: 'data/*.csv', train: { run: 'x', inputs: { rows: 'data/*.csv' } } }],
])('a holdout that is %s is told', (_what, model) => {
  expect(holdoutInTraining(modelOf(model))).toMatch(/rows\.csv|data\/\*\.csv/)
})

it.each<[string, Partial<ModelInput>]>([
  ['beside them', { holdout: 'holdout.csv', train: { run: 'x', inputs: { rows: 'data/*.csv' } } }],
  ['in a folder below', { holdout: 'data/holdout/a.csv', on: { newData: 'data/*.csv' } }],
  ['a query', { holdout: { sql: "from 'rows.csv' where day > 9" }, on: { newData: 'rows.csv' } }],
  ['not declared', { on: { newData: 'rows.csv' } }],
])('a holdout that is %s is not', (_what, model) => {
  expect(holdoutInTraining(modelOf(model))).toBeNull()
  expect(holdoutWarning(modelOf(model))).toBeNull()
})

it('the warning names both and the way out', () => {
  const model = modelOf({ holdout: 'rows.csv', on: { newData: 'rows.csv' } })
  expect(holdoutWarning(model)).toMatch(/^holdout rows\.csv is among what training reads \(rows\.csv\).*Put rows aside/)
})
