import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'

import { findAll } from '../../kernel/runtime/stop-all.ts'
import { connectControlPlane } from '../client/control-plane.ts'

/* A whole life by the command line: init, up, a first model by itself, a prediction, its label, down. */

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url))
let dir: string
let dataDir: string

beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'mr-up-'))
  process.env['XDG_RUNTIME_DIR'] = dir
  dataDir = path.join(dir, 'project', '.millrace')
})

afterAll(async () => {
  await millrace('down', '--data-dir', dataDir)
  await rm(dir, { recursive: true, force: true })
})

function millrace(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (piece: Buffer) => (stdout += piece.toString()))
  child.stderr.on('data', (piece: Buffer) => (stderr += piece.toString()))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
  })
}

it('takes an empty folder to a logged prediction and leaves nothing behind', async () => {
  await millrace('init', path.join(dir, 'project'))
  const config = path.join(dir, 'project', 'millrace.config.ts')
  const up = await millrace('up', '--detach', '--port', '0', '--config', config, '--json')
  expect(up).toMatchObject({ code: 0, stderr: '' })
  expect(JSON.parse(up.stdout)).toMatchObject({
    endpoints: [{ name: 'churn', url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\//) }],
  })

  const { api } = connectControlPlane({ dataDir, waitMs: 10_000 })
  await expect
    .poll(async () => (await api.endpoints.list())[0]?.state, { timeout: 90_000, interval: 500 })
    .toBe('serving')

  const second = await millrace('up', '--config', config)
  expect(second).toMatchObject({ code: 5, stderr: expect.stringContaining('already runs Millrace') })

  const row = { tenure_months: 3, monthly_fee: 50, support_calls: 4, days_since_login: 9, discount: 0, plan: 'plus' }
  const predicted = await millrace('predict', 'churn', '--row', JSON.stringify(row), '--data-dir', dataDir, '--json')
  expect(predicted).toMatchObject({ code: 0, stderr: '' })
  const { predictionId } = JSON.parse(predicted.stdout) as { predictionId: string }
  expect((await millrace('feedback', predictionId, '1', '--data-dir', dataDir)).code).toBe(0)
  const sql = `select label from predictions where prediction_id = '${predictionId}'`
  const query = async () =>
    (JSON.parse((await millrace('lake', 'query', sql, '--data-dir', dataDir, '--json')).stdout) as { rows: unknown })
      .rows
  await expect.poll(query, { timeout: 20_000, interval: 500 }).toEqual([[1]])
  expect((await millrace('lake', 'status', '--data-dir', dataDir)).code).toBe(0)

  const down = await millrace('down', '--data-dir', dataDir, '--json')
  const { stopped } = JSON.parse(down.stdout) as { stopped: { kind: string }[] }
  expect(new Set(stopped.map((p) => p.kind))).toContain('supervisor')
  expect(await findAll(dataDir)).toEqual([])
  expect(await readFile(path.join(dataDir, 'logs', 'up.log'), 'utf8')).toContain('"kind":"stopping"')
  expect(await millrace('status', '--data-dir', dataDir)).toMatchObject({ code: 3 })
})
