import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openFsArtifacts } from '../../kernel/artifacts/fs/fs-artifacts.ts'
import type { Run, Step } from './run.ts'
import { prepareInputs, type InputTools } from './step-inputs.ts'

let root: string
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-inputs-')))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const run = { id: 'run-1', asOfMs: 0 } as Run
const stepWith = (path: string) =>
  ({ name: 'train', spec: { name: 'train', inputs: [{ name: 'rows', source: { kind: 'file', path } }] } }) as Step
const prepare = (path: string) => {
  const tools: InputTools = {
    root,
    artifacts: openFsArtifacts(join(root, 'artifacts')),
    signal: new AbortController().signal,
    materialiseSql: () => Promise.reject(new Error('not asked for here')),
  }
  return prepareInputs(run, stepWith(path), [], join(root, 'inputs'), tools)
}

describe('a file input', () => {
  it.each(['data/a.csv', 'data/*.csv', 'data'])('is found by %s, with one digest over all files', async (path) => {
    mkdirSync(join(root, 'data'))
    writeFileSync(join(root, 'data', 'a.csv'), 'a')
    const [record] = await prepare(path)
    expect(record).toMatchObject({ name: 'rows', kind: 'file', files: 1, sizeBytes: 1 })
  })

  it.each(['gone.csv', 'gone/*.csv', 'file.txt/below.csv'])(
    'that is not there is said to be missing: %s',
    async (path) => {
      writeFileSync(join(root, 'file.txt'), 'x')
      await expect(prepare(path)).rejects.toMatchObject({ code: 'MR_INPUT_MISSING' })
    },
  )

  it('that can not be looked at is not taken for one that is missing', async () => {
    symlinkSync('loop.csv', join(root, 'loop.csv'))
    await expect(prepare('loop.csv')).rejects.toMatchObject({ code: 'ELOOP' })
  })
})
