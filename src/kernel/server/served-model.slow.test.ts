import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openServedModel } from './served-model.ts'
import type { ServerPlan } from './server-plan.ts'
import { startServer } from './server-process.ts'

const SERVER = resolve(import.meta.dirname, '../../testing/v2-server.mjs')

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mr-server-'))
  mkdirSync(join(dir, 'model'))
  writeFileSync(join(dir, 'model', 'weights.json'), JSON.stringify({ weights: [2, -1], bias: 0.5 }))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const plan = (changes: Partial<ServerPlan> = {}): ServerPlan => ({
  command: `exec node '${SERVER}'`,
  cwd: dir,
  env: {},
  modelDir: join(dir, 'model'),
  modelName: 'by hand',
  version: '3',
  readyTimeoutMs: 20_000,
  logPath: join(dir, 'server.log'),
  ...changes,
})

const x = (rows: number[][]) => ({
  x: { datatype: 'FP32' as const, shape: [rows.length, 2], data: Float32Array.from(rows.flat()) },
})

describe('a model behind a server of its own', () => {
  it('is asked as one that runs here, and its server is gone afterwards', async () => {
    const model = await openServedModel(plan(), ['age', 'income'])
    expect(model.signature).toEqual({
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['age', 'income'] }],
      outputs: [{ name: 'probability', datatype: 'FP32', shape: [-1, 1], columns: ['probability'] }],
    })
    const { probability } = await model.run(
      x([
        [0, 0.5],
        [1, 0],
      ]),
    )
    expect(probability).toMatchObject({ datatype: 'FP32', shape: [2, 1] })
    expect([...(probability!.data as Float32Array)]).toEqual([0.5, Math.fround(1 / (1 + Math.exp(-2.5)))])
    const port = Number(/listening on (\d+)/.exec(readFileSync(join(dir, 'server.log'), 'utf8'))![1])
    await model.close()
    await expect(fetch(`http://127.0.0.1:${port}/v2/health/live`)).rejects.toThrow('fetch failed')
  })

  it('refuses values that JSON has no word for, naming the row', async () => {
    const model = await openServedModel(plan(), null)
    try {
      await expect(
        model.run(
          x([
            [0, 1],
            [NaN, 1],
          ]),
        ),
      ).rejects.toMatchObject({
        code: 'MR_SERVER_ANSWER',
        message: expect.stringContaining("input 'x' is NaN in row 1 of 2"),
      })
    } finally {
      await model.close()
    }
  })

  it('passes on what the server says against a request', async () => {
    const model = await openServedModel(plan(), null)
    try {
      const other = { y: { datatype: 'FP32' as const, shape: [1, 2], data: Float32Array.of(1, 2) } }
      await expect(model.run(other)).rejects.toMatchObject({
        code: 'MR_SERVER_ANSWER',
        message: expect.stringContaining('it answers with 400: {"error":"Cannot destructure'),
      })
    } finally {
      await model.close()
    }
  })

  it.each<[string, Partial<ServerPlan>, string, string]>([
    [
      'ends at once',
      { env: { TROUBLE: 'exit' } },
      'MR_SERVER_START',
      'it ended with exit status 3. Its last words: no licence',
    ],
    ['is no command at all', { command: 'no-such-server' }, 'MR_SERVER_START', 'exit status 127'],
    [
      'never gets ready',
      { env: { TROUBLE: 'unready' }, readyTimeoutMs: 1_500 },
      'MR_SERVER_START',
      'answered with 503',
    ],
    ['never answers', { env: { TROUBLE: 'mute' }, readyTimeoutMs: 1_500 }, 'MR_SERVER_START', 'no answer within'],
    ['says nothing of its inputs', { env: { TROUBLE: 'no-metadata' } }, 'MR_SERVER_METADATA', 'it names no inputs'],
  ])('is refused with the reason where its server %s', async (_what, changes, code, why) => {
    await expect(openServedModel(plan(changes), null)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(why),
    })
  })

  it('takes along what the command has started', async () => {
    const server = await startServer(plan({ command: `sleep 300 & echo $! > '${dir}/child'; node '${SERVER}'` }))
    await server.ready()
    const child = Number(readFileSync(join(dir, 'child'), 'utf8'))
    expect(existsSync(`/proc/${child}`)).toBe(true)
    await server.stop(2_000)
    for (let i = 0; i < 500 && isRunning(child); i++) await sleep(20)
    expect(isRunning(child)).toBe(false)
  })

  it('is given where to listen and what to serve, and nothing of Millrace besides', async () => {
    const before = process.env.MILLRACE_DATABASE_URL
    process.env.MILLRACE_DATABASE_URL = 'postgresql://secret'
    try {
      const server = await startServer(plan({ command: 'env; exit 0', env: { THREADS: '2' } }))
      await server.exited
      const env = readFileSync(join(dir, 'server.log'), 'utf8')
      expect(env).toContain(`MILLRACE_MODEL_DIR=${join(dir, 'model')}\n`)
      expect(env).toContain('MILLRACE_MODEL_NAME=by hand\n')
      expect(env).toContain('MILLRACE_MODEL_VERSION=3\n')
      expect(env).toContain(`PORT=${server.httpPort}\n`)
      expect(env).toContain('THREADS=2\n')
      expect(env).not.toContain('secret')
    } finally {
      if (before === undefined) delete process.env.MILLRACE_DATABASE_URL
      else process.env.MILLRACE_DATABASE_URL = before
    }
  })
})

/** A zombie is over: only its parent has not looked yet. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
