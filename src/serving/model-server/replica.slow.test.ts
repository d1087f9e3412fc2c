import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { UpstreamError } from '../gateway/errors.ts'
import { openUpstreams } from '../gateway/upstream/open-upstreams.ts'
import { LeaseListener } from '../../testing/lease-listener.ts'
import * as onnx from '../../testing/onnx-builder.ts'

const ENTRY = fileURLToPath(new URL('../../processes/model-server.ts', import.meta.url))

let folder = ''
let children: ChildProcess[] = []
let control: LeaseListener | null = null

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mr-replica-'))
  children = []
})
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL')
  await control?.close()
  control = null
  rmSync(folder, { recursive: true, force: true })
})

async function waitFor<T>(look: () => T | undefined | false | null, limitMs = 15_000): Promise<T> {
  for (let waitedMs = 0; waitedMs < limitMs; waitedMs += 20) {
    const seen = look()
    if (seen) return seen
    await sleep(20)
  }
  throw new Error(`waited ${limitMs} ms in vain`)
}

const controlSocket = (): string => join(folder, 'control.sock')
const recordPath = (): string => join(folder, 'data', 'run', 'replica-1.json')
const socketPath = (): string => join(folder, 'replica-1.sock')
const framesPath = (): string => join(folder, 'replica-1.frames')

function start(
  model: Uint8Array,
  change: object = {},
): { child: ChildProcess; ended: Promise<number | null>; digest: string } {
  const artifactPath = onnx.writeModel(join(folder, 'model.onnx'), model)
  const digest = `sha256:${createHash('sha256').update(model).digest('hex')}`
  mkdirSync(join(folder, 'data', 'run'), { recursive: true })
  const options = {
    replicaId: 'replica-1',
    token: 'secret',
    deploymentId: 'deployment-1',
    model: 'm',
    version: '3',
    artifactPath,
    digest,
    features: null,
    socketPath: socketPath(),
    controlSocket: controlSocket(),
    maxBatchRows: 64,
    recordPath: recordPath(),
    ...change,
  }
  const optionsPath = join(folder, 'options.json')
  writeFileSync(optionsPath, JSON.stringify(options))
  const child = spawn(process.execPath, [ENTRY, optionsPath], { stdio: ['ignore', 'ignore', 'inherit'] })
  children.push(child)
  return { child, ended: new Promise((resolve) => child.on('exit', resolve)), digest }
}

function ask(
  method: string,
  path: string,
  body?: string,
  options: { agent?: Agent; port?: number } = {},
): Promise<{ status: number; json: Record<string, unknown> }> {
  const where = options.port === undefined ? { socketPath: socketPath() } : { port: options.port, host: '127.0.0.1' }
  return new Promise((resolve, reject) => {
    const call = request({ ...where, method, path, agent: options.agent ?? false }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.on('end', () =>
        resolve({ status: response.statusCode!, json: JSON.parse(text) as Record<string, unknown> }),
      )
      response.on('error', reject)
    })
    call.on('error', reject)
    call.end(body)
  })
}

const rows = (values: number[]): string =>
  JSON.stringify({ inputs: [{ name: 'x', shape: [values.length, 1], datatype: 'FP32', data: values }] })
const infer = (values: number[], options: { agent?: Agent; port?: number } = {}) =>
  ask('POST', '/v2/models/m/infer', rows(values), options)
const linear = onnx.linearModel({ weights: [2] })

describe('a replica', () => {
  it('announces itself, becomes ready, serves by socket and port, and says who it is', async () => {
    control = await LeaseListener.listen(controlSocket())
    const { child, digest } = start(linear)
    const lease = await control.saying('ready')
    expect(lease).toMatchObject({
      replicaId: 'replica-1',
      token: 'secret',
      deploymentId: 'deployment-1',
      pid: child.pid,
      why: null,
      socketPath: socketPath(),
      inFlight: 0,
      loadedDigest: digest,
    })
    expect(control.leases[0]).toMatchObject({ state: 'loading', loadedDigest: null })
    expect(await infer([21])).toMatchObject({ status: 200, json: { model_version: '3', outputs: [{ data: [42] }] } })
    expect(await infer([21], { port: lease.httpPort! })).toMatchObject({ status: 200 })
    expect(await ask('GET', '/identity')).toMatchObject({ json: { id: 'replica-1', token: 'secret', pid: child.pid } })
    expect(await ask('GET', '/identity', undefined, { port: lease.httpPort! })).toMatchObject({ status: 404 })
    expect(JSON.parse(readFileSync(recordPath(), 'utf8'))).toMatchObject({
      id: 'replica-1',
      pid: child.pid,
      token: 'secret',
      role: 'replica',
    })
  })

  it('ends on SIGTERM without losing a request', async () => {
    control = await LeaseListener.listen(controlSocket())
    const { child, ended } = start(onnx.slowModel({ size: 256, repeats: 20, width: 1 }))
    await control.saying('ready')
    const agent = new Agent({ keepAlive: true, maxSockets: 16 })
    const answers: number[] = []
    const lost: string[] = []
    let stop = false
    const clients = Array.from({ length: 16 }, async () => {
      while (!stop) {
        try {
          answers.push((await infer([1], { agent })).status)
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException
          if (code === 'ECONNREFUSED' || code === 'ENOENT') return // it takes no more: nothing was lost
          lost.push(String(error))
          return
        }
      }
    })
    await waitFor(() => answers.length > 50)
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
    stop = true
    await Promise.all(clients)
    agent.destroy()
    expect(lost).toEqual([])
    expect(new Set(answers)).toEqual(new Set([200]))
    expect(control.leases.at(-1)).toMatchObject({ state: 'draining' })
    expect(existsSync(recordPath())).toBe(false)
  })

  it('answers frames on a socket of their own, which its lease names', async () => {
    control = await LeaseListener.listen(controlSocket())
    start(linear, { framesPath: framesPath() })
    const lease = await control.saying('ready')
    expect(lease.framesPath).toBe(framesPath())
    const upstream = openUpstreams()({ replicaId: 'replica-1', socketPath: socketPath(), framesPath: framesPath() })
    expect(await upstream.probe(1_000)).toBe(true)
    const { answer } = upstream.call({
      model: 'm',
      version: '3',
      body: Buffer.from(rows([21])),
      jsonBytes: null,
      headers: [],
    })
    const { status, headers, body } = await answer
    expect({ status, version: headers.get('millrace-model-version') }).toEqual({ status: 200, version: '3' })
    expect(JSON.parse(body.toString())).toMatchObject({ outputs: [{ data: [42] }] })
    upstream.close()
  })

  it('ends on SIGTERM without losing a request that came by frames', async () => {
    control = await LeaseListener.listen(controlSocket())
    const { child, ended } = start(onnx.slowModel({ size: 256, repeats: 20, width: 1 }), { framesPath: framesPath() })
    await control.saying('ready')
    const upstream = openUpstreams()({ replicaId: 'replica-1', socketPath: socketPath(), framesPath: framesPath() })
    const request = { model: 'm', version: '3', body: Buffer.from(rows([1])), jsonBytes: null, headers: [] }
    const answers: number[] = []
    const lost: string[] = []
    const clients = Array.from({ length: 32 }, async () => {
      for (;;) {
        try {
          answers.push((await upstream.call(request).answer).status)
        } catch (error) {
          // It takes no more and nothing was sent: a gateway asks another one.
          if ((error as UpstreamError).fault !== 'refused') lost.push(String(error))
          return
        }
      }
    })
    await waitFor(() => answers.length > 200)
    child.kill('SIGTERM')
    await Promise.all(clients)
    expect(await ended).toBe(0)
    upstream.close()
    expect(lost).toEqual([])
    expect(new Set(answers)).toEqual(new Set([200]))
    expect(existsSync(framesPath())).toBe(false)
  })

  it('drains when the control plane says so', async () => {
    control = await LeaseListener.listen(controlSocket())
    const { ended } = start(linear)
    await control.saying('ready')
    control.goal = 'drain'
    expect(await ended).toBe(0)
    expect(control.leases.at(-1)).toMatchObject({ state: 'draining', why: 'the control plane asked for it' })
  })

  it('says why it can not serve, and stays to say so', async () => {
    control = await LeaseListener.listen(controlSocket())
    const { child, ended } = start(linear, { digest: `sha256:${'0'.repeat(64)}` })
    const lease = await control.saying('failed')
    expect(lease.why).toContain('was registered')
    expect(lease.loadedDigest).toBeNull()
    expect(await ask('GET', '/v2/health/ready')).toMatchObject({
      status: 503,
      json: { error: expect.stringContaining('was registered') },
    })
    expect(await infer([1])).toMatchObject({ status: 503 })
    await sleep(1_000)
    expect(child.exitCode).toBeNull()
    child.kill('SIGTERM')
    expect(await ended).toBe(1)
  })

  it('needs no control plane, nor its record, to serve; a later control plane finds it', async () => {
    const { child } = start(linear)
    await waitFor(() => existsSync(socketPath()))
    await expect.poll(async () => (await infer([4])).status, { timeout: 15_000 }).toBe(200)
    expect(await infer([4])).toMatchObject({ json: { outputs: [{ data: [8] }] } })
    rmSync(recordPath())
    control = await LeaseListener.listen(controlSocket())
    await control.saying('ready')
    await control.close()
    rmSync(controlSocket(), { force: true })
    await sleep(800)
    expect(await infer([5])).toMatchObject({ status: 200 })
    control = await LeaseListener.listen(controlSocket())
    expect(await control.saying('ready')).toMatchObject({ pid: child.pid })
  })

  it('starts where one was killed and left its socket behind', async () => {
    control = await LeaseListener.listen(controlSocket())
    const first = start(linear)
    await control.saying('ready')
    first.child.kill('SIGKILL')
    await first.ended
    expect(existsSync(socketPath())).toBe(true)
    control.leases = []
    const second = start(linear)
    expect(await control.saying('ready')).toMatchObject({ pid: second.child.pid })
    expect(await infer([1])).toMatchObject({ status: 200 })
  })

  it('ends with a word about options that can not be used', async () => {
    const { ended } = start(linear, { maxBatchRows: 'many' })
    expect(await ended).toBe(1)
  })
})
