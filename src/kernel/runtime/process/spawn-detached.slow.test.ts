import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { findAll } from '../stop-all.ts'
import { spawnDetached } from './spawn-detached.ts'

let dataDir: string
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'millrace-detached-'))
})
afterEach(() => rmSync(dataDir, { recursive: true, force: true }))

it('leaves no process behind of which no record could be written', async () => {
  writeFileSync(join(dataDir, 'run'), 'in the way')
  const started = spawnDetached({
    id: 'replica-1',
    role: 'replica',
    token: 'token',
    socketPath: null,
    dataDir,
    command: '/bin/sleep',
    args: ['1000'],
    env: {},
    logPath: join(dataDir, 'logs', 'replica-1.log'),
  })
  await expect(started).rejects.toMatchObject({ code: 'MR_DATA_DIR' })
  rmSync(join(dataDir, 'run'))
  expect(await findAll(dataDir)).toEqual([])
})
