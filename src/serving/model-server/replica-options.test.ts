import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { readReplicaOptions } from './replica-options.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-options-'))
afterAll(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'options.json')

const whole = {
  replicaId: 'replica-1',
  token: 't',
  deploymentId: 'deployment-1',
  model: 'm',
  version: '1',
  artifactPath: '/a',
  digest: 'sha256:0',
  features: null,
  socketPath: '/s',
  controlSocket: '/c',
  maxBatchRows: 64,
  recordPath: '/run/replica-1.json',
}

it('reads what the control plane wrote', () => {
  writeFileSync(path, JSON.stringify(whole))
  expect(readReplicaOptions(path)).toEqual(whole)
})

it.each([
  ['{', 'JSON'],
  ['5', 'not an object'],
  [JSON.stringify({ ...whole, model: '' }), `'model' is ""`],
  [JSON.stringify({ ...whole, maxBatchRows: 0 }), `'maxBatchRows' is 0`],
  [JSON.stringify({ ...whole, features: [1] }), `'features' is [1]`],
  [JSON.stringify({ ...whole, token: undefined }), `'token' is undefined`],
])('names what is wrong in %s', (text, says) => {
  writeFileSync(path, text)
  expect(() => readReplicaOptions(path)).toThrow(says)
})

it('wants a file', () => {
  expect(() => readReplicaOptions(undefined)).toThrow('no file was named')
  expect(() => readReplicaOptions(join(folder, 'nothing'))).toThrow('ENOENT')
})
