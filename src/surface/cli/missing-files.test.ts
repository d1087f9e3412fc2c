import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'

import type { ModelInput } from '../../config/input.ts'
import { projectOf } from '../../testing/control-builders.ts'
import { missingFiles } from './missing-files.ts'

let root: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'mr-missing-'))
  mkdirSync(join(root, 'data'))
  writeFileSync(join(root, 'data/2026.csv'), 'a\n1\n')
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const missing = (model: Partial<ModelInput>, rows = 'data/*.csv') => {
  const train = { run: 'python train.py', inputs: { rows } }
  const { models } = projectOf(root, { m: { train, ...model } })
  return missingFiles(models[0]!, root)
}

it('says nothing of files, folders and patterns that are there', () => {
  expect(missing({ holdout: 'data/2026.csv' })).toEqual([])
  expect(missing({}, 'data')).toEqual([])
  expect(missing({}, 'data/2026.csv')).toEqual([])
})

it('names each input and the holdout that is not there', () => {
  expect(missing({ holdout: 'data/holdout.csv' }, 'data/*.parquet')).toEqual([
    "input 'rows' of step 'train' is not there: nothing matches data/*.parquet, so the step can't run",
    "holdout data/holdout.csv is not there, so versions can't be measured",
  ])
})

it('does not look into queries', () => {
  expect(missing({ holdout: { sql: "select * from 'none.csv'" } })).toEqual([])
})
