import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { InferenceSession } from 'onnxruntime-node'
import { DuckDBInstance } from '@duckdb/node-api'

const run = promisify(execFile)

/** The two steps as Millrace runs them: as commands that know nothing but their environment. */
describe('the training steps', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flights-steps-'))
    await landThreeWeeks(join(folder, 'weeks.parquet'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('go from landed weeks to a model and its metrics, with progress lines', async () => {
    const features = await step('features', 'a')
    expect(features).toContain('millrace:progress 1.00 "written"')
    const train = await step('train', 'a')
    expect(train).toContain('millrace:progress 0.10 "4032 flights read"')
    expect(train).toContain('"round 10 of 12"') // the parameter was read
    const metrics = JSON.parse(await readFile(join(folder, 'a', 'metrics.json'), 'utf8')) as Record<string, number>
    expect(metrics).toMatchObject({ rows: 4_032 })
    expect(metrics['trainingLogLoss']).toBeLessThan(0.6)
    const session = await InferenceSession.create(join(folder, 'a', 'model.onnx'))
    expect(session.outputNames).toEqual(['late_probability'])
    await session.release()
  })

  it('give the same model, byte for byte, when run again', async () => {
    await step('features', 'b')
    await step('train', 'b')
    const model = (name: string) => readFile(join(folder, name, 'model.onnx'))
    expect((await model('b')).equals(await model('a'))).toBe(true)
  })

  it('say which variable is missing when run by hand', async () => {
    const script = join(import.meta.dirname, 'train.ts')
    const { MILLRACE_INPUT_TRAINING: _, ...env } = process.env
    await expect(run(process.execPath, [script], { env })).rejects.toThrow('MILLRACE_INPUT_TRAINING is not set')
  })

  async function step(name: 'features' | 'train', output: string): Promise<string> {
    const params = join(folder, 'params.json')
    await writeFile(params, JSON.stringify({ rounds: 12, depth: 3 }))
    const env = {
      ...process.env,
      MILLRACE_AS_OF: '2001-01-22T00:00:00.000Z',
      MILLRACE_PARAMS: params,
      MILLRACE_OUTPUT_DIR: join(folder, output),
      MILLRACE_MODEL_DIR: join(folder, output),
      MILLRACE_INPUT_WEEKS: join(folder, '*.parquet'),
      MILLRACE_INPUT_TRAINING: join(folder, output, 'training.parquet'),
      MILLRACE_INPUT_COUNTS: join(folder, output, 'counts.parquet'),
    }
    const { stdout } = await run(process.execPath, [join(import.meta.dirname, `${name}.ts`)], { env })
    return stdout
  }
})

/** 2,000 flights in each of three weeks, later in the evening and from one airport more often late. */
async function landThreeWeeks(path: string): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  await connection.run(
    `copy (
       select timestamp '2001-01-01' + to_minutes((n * 5)::integer) as date,
              if(hash(n) % 100 < 10 + hour(date) + if(n % 3 = 1, 25, 0), 60, 0) as delay,
              600 + n % 7 as distance,
              ['ATL', 'ORD', 'DFW'][1 + n % 3] as origin,
              ['ORD', 'DFW', 'ATL'][1 + n % 3] as destination
       from range(3 * 7 * 288) numbers(n)
     ) to '${path}'`,
  )
  instance.closeSync()
}
