import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FED_HEADER, FEED_HEADER, splitFed } from '../../kernel/contract/fed.ts'
import { parseInferRequest } from '../../kernel/protocol/inference.ts'
import type { PreparePlan } from '../../kernel/server/server-plan.ts'
import { LeaseListener } from '../../testing/lease-listener.ts'
import * as onnx from '../../testing/onnx-builder.ts'
import type { PrepareLimits } from './prepare-step.ts'
import type { Replica } from './replica-life.ts'
import { startReplica } from './replica.ts'

const STEP = resolve(import.meta.dirname, '../../testing/prepare-server.mjs')

let dir: string
let control: LeaseListener
let replica: Replica | null

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mr-prepared-'))
  mkdirSync(join(dir, 'files'))
  writeFileSync(join(dir, 'files', 'factor.json'), '10')
  replica = null
  control = await LeaseListener.listen(join(dir, 'control.sock'))
})
afterEach(async () => {
  replica?.drain('the test is over')
  await replica?.over
  await control.close()
  rmSync(dir, { recursive: true, force: true })
})

/** x [N, 2] → 100 · x[0] + x[1] + 0.5, behind the step of prepare-server.mjs. */
async function start(plan: Partial<PreparePlan> = {}, limits: Partial<PrepareLimits> = {}): Promise<Replica> {
  const model = onnx.linearModel({ weights: [100, 1], bias: 0.5 })
  const prepare: PreparePlan = {
    role: 'prepare',
    command: `exec node '${STEP}'`,
    cwd: dir,
    env: {},
    modelDir: join(dir, 'files'),
    modelName: 'features',
    version: '1',
    readyTimeoutMs: 20_000,
    timeoutMs: 10_000,
    logPath: join(dir, 'prepare.log'),
    ...plan,
  }
  replica = await startReplica(
    {
      replicaId: 'replica-1',
      token: 't',
      deploymentId: 'deployment-1',
      model: 'm',
      version: '1',
      artifactPath: onnx.writeModel(join(dir, 'model.onnx'), model),
      digest: `sha256:${createHash('sha256').update(model).digest('hex')}`,
      features: null,
      prepare,
      isolate: 'never',
      socketPath: join(dir, 'replica.sock'),
      controlSocket: join(dir, 'control.sock'),
      maxBatchRows: 64,
      recordPath: join(dir, 'run', 'replica-1.json'),
    },
    { tell: () => {}, serverVersion: '9', failedStaysMs: 100, prepareLimits: limits },
  )
  return replica
}

async function started(plan: Partial<PreparePlan> = {}, limits: Partial<PrepareLimits> = {}): Promise<Replica> {
  const made = await start(plan, limits)
  await control.saying('ready')
  return made
}

const inputs = (names: string[], sizes = names.map(() => 1)) => [
  { name: 'name', datatype: 'BYTES', shape: [names.length, 1], data: names },
  { name: 'size', datatype: 'FP32', shape: [names.length, 1], data: sizes },
]
const url = (path: string) => `http://127.0.0.1:${replica!.httpPort}${path}`

async function ask(body: object, headers: Record<string, string> = {}) {
  const answer = await fetch(url('/v2/models/m/infer'), { method: 'POST', body: JSON.stringify(body), headers })
  const content = Buffer.from(await answer.arrayBuffer())
  return { status: answer.status, headers: answer.headers, content }
}
const saidBy = ({ content }: { content: Buffer }) => (JSON.parse(content.toString()) as { error: string }).error
const scoresOf = ({ content }: { content: Buffer }) =>
  (JSON.parse(content.toString()) as { outputs: { data: number[] }[] }).outputs[0]!.data
const stepPid = () => Number(/pid (\d+)/.exec(readFileSync(join(dir, 'prepare.log'), 'utf8'))![1])

/** A zombie is over: only its parent has not looked yet. */
function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`) && !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}

describe('a replica with a step before its model', () => {
  it('takes what the step takes, and computes with what the step makes of it and of the files of the version', async () => {
    await started()
    const metadata = (await (await fetch(url('/v2/models/m'))).json()) as { inputs: object[]; outputs: object[] }
    expect(metadata.inputs).toEqual([
      { name: 'name', datatype: 'BYTES', shape: [-1, 1] },
      { name: 'size', datatype: 'FP32', shape: [-1, 1] },
    ])
    const answer = await ask({ inputs: inputs(['ab', 'abc'], [1, 2]) })
    expect({ status: answer.status, scores: scoresOf(answer) }).toEqual({ status: 200, scores: [210.5, 320.5] })
  })

  it('never mixes up the rows of requests that are prepared and computed together', async () => {
    await started()
    const asked = Array.from({ length: 100 }, (_, i) => [i, 1_000 + i])
    const answers = await Promise.all(asked.map((sizes) => ask({ inputs: inputs(['a', 'ab'], sizes) })))
    expect(answers.map(scoresOf)).toEqual(asked.map(([one, two]) => [100.5 + 10 * one!, 200.5 + 10 * two!]))
  })

  it('takes bytes as it takes JSON, rows by the other protocols, and refuses what JSON could not tell the step', async () => {
    await started()
    const size = Buffer.from(new Uint8Array(Float32Array.of(3).buffer))
    const binary = async (bytes: Buffer) => {
      const [name, asBytes] = inputs(['ab'])
      const head = JSON.stringify({
        inputs: [name, { ...asBytes, data: undefined, parameters: { binary_data_size: bytes.length } }],
      })
      const response = await fetch(url('/v2/models/m/infer'), {
        method: 'POST',
        headers: { 'inference-header-content-length': String(head.length) },
        body: Buffer.concat([Buffer.from(head), bytes]),
      })
      return { status: response.status, content: Buffer.from(await response.arrayBuffer()) }
    }
    expect(scoresOf(await binary(size))).toEqual([230.5])
    const refused = await binary(Buffer.from(new Uint8Array(Float32Array.of(NaN).buffer)))
    expect(refused.status).toBe(400)
    expect(saidBy(refused)).toBe(`Input 'size' is NaN in row 0 of 1, and JSON has no word for it`)
    const byV1 = await fetch(url('/v1/models/m:predict'), {
      method: 'POST',
      body: JSON.stringify({ instances: [{ name: ['ab'], size: [3] }] }),
    })
    expect(await byV1.json()).toEqual({ predictions: [[230.5]] })
  })

  it('tells a gateway that asks what the step made of the request, and nobody else', async () => {
    await started()
    const body = { inputs: inputs(['abc'], [2]) }
    const plain = await ask(body)
    expect(plain.headers.has(FED_HEADER)).toBe(false)
    const asked = await ask(body, { [FEED_HEADER]: '1' })
    const split = splitFed(asked.content, asked.headers.get(FED_HEADER)!)!
    expect(split.answer).toEqual(plain.content)
    const model = { inputs: [{ name: 'x', datatype: 'FP32' as const, shape: [-1, 2], columns: null }], outputs: [] }
    const fed = parseInferRequest(split.fed.body, model, { jsonBytes: split.fed.jsonBytes })
    expect(fed.inputs['x']!.data).toEqual(Float32Array.of(3, 20))
  })

  it('passes on a refusal, and tells apart what else goes wrong', async () => {
    await started({ timeoutMs: 200 }, { bodyBytes: 2_000 })
    const outcome = async (name: string) => {
      const answer = await ask({ inputs: inputs([name]) })
      return { status: answer.status, said: saidBy(answer) }
    }
    expect(await outcome('refuse')).toEqual({ status: 400, said: 'nobody is called "refuse"' })
    expect(await outcome('fail')).toEqual({
      status: 500,
      said: 'The preparing step failed: it answered with 500: the lookup broke.',
    })
    expect(await outcome('busy')).toEqual({
      status: 503,
      said: 'The preparing step is busy: it answered with 503: later',
    })
    expect(await outcome('hang')).toEqual({ status: 504, said: 'The preparing step did not answer within 200 ms' })
    expect(await outcome('huge')).toEqual({
      status: 500,
      said: `The preparing step can't be understood: the answer has more than 2000 bytes`,
    })
    expect(await outcome('x'.repeat(3_000))).toMatchObject({
      status: 413,
      said: expect.stringContaining('of 2000 at most'),
    })
    expect(scoresOf(await ask({ inputs: inputs(['ab']) }))).toEqual([210.5])
  })

  it('answers 504 once the caller waits no longer, and is asked on', async () => {
    await started()
    const body = { inputs: inputs(['hang']), parameters: { timeout: 100_000 } }
    const late = await ask(body)
    expect({ status: late.status, said: saidBy(late) }).toEqual({
      status: 504,
      said: 'The request was not prepared within its timeout',
    })
    expect((await ask({ inputs: inputs(['ab']) })).status).toBe(200)
  })

  it('gives up what its caller has left, which makes room for others', async () => {
    await started({}, { connections: 1, underWay: 1 })
    const left = new AbortController()
    const gone = fetch(url('/v2/models/m/infer'), {
      method: 'POST',
      body: JSON.stringify({ inputs: inputs(['hang']) }),
      signal: left.signal,
    }).catch((error: unknown) => (error as Error).name)
    const refusal = await until(async () => {
      const answer = await ask({ inputs: inputs(['ab']) })
      return answer.status === 503 ? saidBy(answer) : null
    })
    expect(refusal).toBe('1 requests wait for the preparing step already')
    left.abort()
    expect(await gone).toBe('AbortError')
    const served = await until(async () => {
      const answer = await ask({ inputs: inputs(['ab']) })
      return answer.status === 200 ? scoresOf(answer) : null
    })
    expect(served).toEqual([210.5])
  })

  it('is not ready with a step that does not fit, and says what the model takes', async () => {
    const made = await start({ env: { TROUBLE: 'other-outputs' } })
    const { why } = await control.saying('failed')
    expect(why).toBe(
      `The preparing step does not fit the model: the model takes 'x' FP32[-1, 2], which is none of its outputs; its output 'features' FP64[-1, 3] is no input of the model.`,
    )
    expect(await made.over).toEqual({ abandoned: 0, failed: true })
    expect(isRunning(stepPid())).toBe(false)
  })

  it.each([
    ['has fewer rows than were asked for', 'fewer-rows', `it answered 0 rows of 'x' where 1 were asked`],
    ['is not the protocol', 'nonsense', 'The answer is not valid JSON'],
  ])('is not ready with a step whose answer %s', async (_, trouble, why) => {
    await start({ env: { TROUBLE: trouble } })
    expect((await control.saying('failed')).why).toContain(why)
  })

  it('says the last words of a step that does not start', async () => {
    await start({ env: { TROUBLE: 'exit' } })
    expect((await control.saying('failed')).why).toMatch(
      /^The preparing step '.*' did not get ready: it ended with exit status 3\. Its last words: no licence/,
    )
  })

  it('feeds a model that takes missing values with null', async () => {
    await started({ env: { TROUBLE: 'nan' } })
    expect(scoresOf(await ask({ inputs: inputs(['ab']) }))).toEqual([null])
  })

  it('fails with its step: requests under way get 503, for another replica to answer them', async () => {
    const made = await started()
    const pid = stepPid()
    const underWay = ask({ inputs: inputs(['slow']) })
    await sleep(100)
    process.kill(pid, 'SIGKILL')
    const answer = await underWay
    expect(answer.status).toBe(503)
    expect(saidBy(answer)).toMatch(/^The preparing step can't be reached \((?!.*127)/)
    expect((await control.saying('failed')).why).toBe('its preparing step has ended with SIGKILL')
    expect(await made.over).toEqual({ abandoned: 0, failed: true })
  })

  it('fails with a step that hangs, which does not survive it', async () => {
    const made = await started({}, { hungMs: 300 })
    const pid = stepPid()
    process.kill(pid, 'SIGSTOP')
    expect((await control.saying('failed')).why).toBe('its preparing step has not said that it is ready for 0.3 s')
    expect((await made.over).failed).toBe(true)
    expect(isRunning(pid)).toBe(false)
  })

  it('answers what is under way before it goes, and takes its step along, with what that has started', async () => {
    const made = await started({ command: `sleep 300 & echo $! > '${dir}/child'; node '${STEP}'` })
    const [step, child] = [stepPid(), Number(readFileSync(join(dir, 'child'), 'utf8'))]
    const underWay = ask({ inputs: inputs(['slow', 'ab']) })
    await sleep(100)
    control.goal = 'drain'
    expect(scoresOf(await underWay)).toEqual([410.5, 210.5])
    expect(await made.over).toEqual({ abandoned: 0, failed: false })
    await until(async () => [step, child].every((pid) => !isRunning(pid)))
  })

  it('takes its step along also where it is told to go before that is ready', async () => {
    const made = await start({ env: { TROUBLE: 'mute' } })
    await until(async () => existsSync(join(dir, 'prepare.log')) && readFileSync(join(dir, 'prepare.log')).length > 0)
    made.drain('the test says so')
    expect(await made.over).toEqual({ abandoned: 0, failed: false })
    expect(isRunning(stepPid())).toBe(false)
  })
})

async function until<T>(look: () => Promise<T | null | false>): Promise<T> {
  for (let i = 0; i < 1_000; i++) {
    const seen = await look()
    if (seen !== null && seen !== false) return seen
    await sleep(10)
  }
  throw new Error('waited in vain')
}
