import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { connectControlPlane } from '../client/control-plane.ts'
import type { MillraceError } from '../../kernel/errors.ts'
import { fakeControlPlane, type FakeControlPlane } from '../../testing/fake-handlers/index.ts'
import { createApiServer, type ApiServer } from './server.ts'

let dir: string
let socketPath: string
let server: ApiServer
let fake: FakeControlPlane
let defects: string[]

beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'mr-api-'))
  socketPath = path.join(dir, 'run', 'control.sock')
  fake = fakeControlPlane()
  defects = []
  server = apiServer()
})

afterEach(async () => {
  await server.close(50)
  await rm(dir, { recursive: true })
})

const apiServer = () =>
  createApiServer({
    handlers: fake.handlers,
    internal: (_request, response) => void response.writeHead(200).end('internal'),
    token: 'mr_secret',
    identity: { id: 'control-plane', token: 't', pid: 7 },
    metrics: {
      text: (id) => Promise.resolve(`# of ${id ?? 'itself'}\n`),
      targets: (address) => [{ targets: [address], labels: {} }],
    },
    version: '0.1.0',
    onDefect: (error, procedure) => defects.push(`${procedure}: ${error.message}`),
  })

async function failureOf(promise: Promise<unknown>): Promise<MillraceError> {
  return promise.then(
    () => expect.fail('it should have failed'),
    (error: MillraceError) => error,
  )
}

describe('over the unix socket', () => {
  beforeEach(() => server.listenSocket(socketPath))

  it('is readable and writable for its owner alone', async () => {
    expect(((await stat(socketPath)).mode & 0o777).toString(8)).toBe('600')
    expect(((await stat(path.dirname(socketPath))).mode & 0o777).toString(8)).toBe('700')
  })

  it('answers the typed client with what the handler returned', async () => {
    const { api } = connectControlPlane({ socketPath })
    expect(await api.models.list()).toEqual([
      expect.objectContaining({ name: 'late-flight', champion: 'late-flight@2' }),
    ])
    const version = await api.versions.get({ ref: 'late-flight@champion' })
    expect(version.signature?.inputs[0]?.columns).toEqual(['age', 'income'])
  })

  it('fills declared defaults in before the handler sees the input', async () => {
    const { api } = connectControlPlane({ socketPath })
    expect((await api.predictionLog.query({ sql: 'select 1' })).truncated).toBe(false)
    expect((await api.predictionLog.query({ sql: 'select 1', limit: 1 })).rows).toEqual([[8, 120]])
  })

  it('hands a MillraceError through with its code, kind, message and fix', async () => {
    const { api } = connectControlPlane({ socketPath })
    const error = await failureOf(api.runs.get({ id: 'run-99' }))
    expect(error.toJSON()).toEqual({
      code: 'MR_TEST_NOT_FOUND',
      kind: 'not-found',
      message: 'There is no run run-99.',
      fix: "Run 'millrace models list'.",
      retryable: false,
    })
  })

  it('names procedure and field where the input is wrong', async () => {
    const { api } = connectControlPlane({ socketPath })
    const error = await failureOf(api.runs.get({ id: '12' }))
    expect(error).toMatchObject({ code: 'MR_API_INPUT', kind: 'invalid' })
    expect(error.message).toContain('runs.get')
    expect(error.message).toContain('id: a run is written run-12')
  })

  it('refuses an empty reason', async () => {
    const { api } = connectControlPlane({ socketPath })
    const error = await failureOf(api.gates.approve({ ref: 'late-flight@2', why: '  ', by: 'ann' }))
    expect(error.message).toContain('why: a reason is needed')
    expect(fake.calls).toEqual([])
  })

  it('tells a defect to the log and its message to the caller', async () => {
    const { api } = connectControlPlane({ socketPath })
    const error = await failureOf(api.clock.set({ calendarMs: 1 }))
    expect(error).toMatchObject({ code: 'MR_API_FAILED', kind: 'internal' })
    expect(error.message).toContain('the disk is on fire')
    expect(defects).toEqual([expect.stringContaining('clock.set')])
  })

  it('reports an answer that breaks the contract as a defect, naming the field', async () => {
    fake.handlers.endpoints.list = () => [{ name: 'x' } as never]
    const { api } = connectControlPlane({ socketPath })
    const error = await failureOf(api.endpoints.list())
    expect(error).toMatchObject({ code: 'MR_API_OUTPUT', kind: 'internal' })
    expect(error.message).toContain('0.model')
  })

  it('streams logs to their end', async () => {
    const { api } = connectControlPlane({ socketPath })
    let text = ''
    for await (const chunk of await api.runs.logs({ id: 'run-2' })) text += chunk.text
    expect(text).toBe('reading 30000 rows\nmillrace:progress 0.5 "half"\na warning\n')
  })

  it('hands errors of a stream through like any other', async () => {
    const { api } = connectControlPlane({ socketPath })
    const read = async () => {
      for await (const _ of await api.runs.logs({ id: 'run-99' })) expect.fail('no chunk is expected')
    }
    expect((await failureOf(read())).toJSON()).toMatchObject({ code: 'MR_TEST_NOT_FOUND', kind: 'not-found' })
  })

  it('ends the handler of a stream when the client stops reading', async () => {
    let ended = false
    fake.handlers.events.watch = async function* (_input, { signal }) {
      yield {
        seq: 1,
        entity: 'run',
        entityId: 'run-1',
        from: null,
        to: 'queued',
        cause: 'x',
        atMs: 1,
        calendarMs: 1,
        detail: null,
      }
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
      ended = true
    }
    const { api } = connectControlPlane({ socketPath })
    for await (const event of await api.events.watch({})) {
      expect(event.seq).toBe(1)
      break
    }
    await expect.poll(() => ended).toBe(true)
  })

  it('gives /internal to its own handler', async () => {
    expect(await plain({ socketPath, path: '/internal/lease', method: 'POST' })).toMatchObject({
      status: 200,
      body: 'internal',
    })
  })

  it('says who it is to the supervisor', async () => {
    const answer = await plain({ socketPath, path: '/identity' })
    expect(JSON.parse(answer.body)).toEqual({ id: 'control-plane', token: 't', pid: 7 })
  })

  it('serves the same operations as REST', async () => {
    const one = await plain({ socketPath, path: '/api/v1/versions/late-flight@2/gate' })
    expect(one.status).toBe(200)
    expect(JSON.parse(one.body)).toMatchObject({ version: 'late-flight@2', verdict: 'passed' })
    const listed = await plain({ socketPath, path: '/api/v1/models/late-flight/versions?limit=1' })
    expect(JSON.parse(listed.body)).toHaveLength(1)
    const missing = await plain({ socketPath, path: '/api/v1/runs/run-99' })
    expect(missing.status).toBe(404)
    expect(JSON.parse(missing.body)).toMatchObject({ code: 'MR_TEST_NOT_FOUND', fix: "Run 'millrace models list'." })
  })

  it.each([
    ['not JSON', '{"a":', 'application/json', 400, 'MR_API_REQUEST'],
    ['a form post', 'model=x', 'application/x-www-form-urlencoded', 400, 'MR_API_REQUEST'],
    ['more than the limit', `"${'x'.repeat(8 * 1024 * 1024)}"`, 'application/json', 413, 'MR_API_BODY_TOO_LARGE'],
  ])('answers a body that is %s with JSON that says so', async (_what, body, type, status, code) => {
    const answer = await plain(
      { socketPath, path: '/api/v1/runs', method: 'POST', headers: { 'content-type': type } },
      body,
    )
    expect(answer.status).toBe(status)
    expect(JSON.parse(answer.body)).toMatchObject({ code })
  })

  it('answers an unknown path with 404', async () => {
    const answer = await plain({ socketPath, path: '/api/v1/nothing' })
    expect(answer.status).toBe(404)
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'MR_API_UNKNOWN_PATH' })
  })

  it('describes every operation in the OpenAPI document', async () => {
    const document = JSON.parse((await plain({ socketPath, path: '/openapi.json' })).body) as {
      openapi: string
      paths: object
    }
    expect(document.openapi).toMatch(/^3\.1/)
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/runs/{id}', '/versions/{ref}/gate', '/events/watch']),
    )
  })

  it('refuses to take over the socket of a living process and replaces that of a dead one', async () => {
    const second = apiServer()
    expect(await failureOf(second.listenSocket(socketPath))).toMatchObject({
      code: 'MR_API_ADDRESS_TAKEN',
      kind: 'conflict',
    })
    const left = path.join(dir, 'left.sock')
    await writeFile(left, '')
    await second.listenSocket(left)
    expect(await connectControlPlane({ socketPath: left }).api.models.list()).toHaveLength(1)
    await second.close(50)
  })
})

describe('without a server', () => {
  it('says that nothing runs and how to start it', async () => {
    const error = await failureOf(connectControlPlane({ socketPath }).api.status.get())
    expect(error).toMatchObject({ code: 'MR_NOT_RUNNING', fix: expect.stringContaining('millrace up') })
  })

  it('says that the control plane is down, and not that nothing runs, where a supervisor does', async () => {
    const { api } = connectControlPlane({
      dataDir: path.join(dir, 'nowhere'),
      waitMs: 1,
      isSupervised: async () => true,
    })
    const error = await failureOf(api.status.get())
    expect(error).toMatchObject({ code: 'MR_CONTROL_PLANE_DOWN', retryable: true })
    expect(error).toMatchObject({ fix: expect.not.stringContaining('millrace up') })
  })

  it('does not wait for it where the supervisor is gone meanwhile, and says that nothing runs', async () => {
    const seen = [true, true, false]
    const isSupervised = async () => seen.shift() ?? false
    const { api } = connectControlPlane({ dataDir: path.join(dir, 'nowhere'), waitMs: 60_000, isSupervised })
    expect(await failureOf(api.status.get())).toMatchObject({ code: 'MR_NOT_RUNNING' })
    expect(seen).toEqual([])
  })

  it('waits for it as long as asked', async () => {
    const { api } = connectControlPlane({ socketPath, waitMs: 10_000 })
    const answer = api.models.list()
    await new Promise((resolve) => setTimeout(resolve, 250))
    await server.listenSocket(socketPath)
    expect(await answer).toHaveLength(1)
  })

  it('gives up on a server that does not answer in time', async () => {
    await server.listenSocket(socketPath)
    fake.handlers.models.list = () => new Promise(() => undefined)
    const { api } = connectControlPlane({ socketPath })
    const error = await failureOf(api.models.list(undefined, { context: { timeoutMs: 100 } }))
    expect(error).toMatchObject({
      code: 'MR_CALL_TIMED_OUT',
      message: 'There was no answer within 0.1 s (models.list).',
    })
  })
})

describe('over TCP', () => {
  let url: string
  let port: number
  beforeEach(async () => {
    await server.listenSocket(socketPath)
    url = await server.listenTcp({ host: '127.0.0.1', port: 0 })
    port = Number(new URL(url).port)
  })

  it('answers who has the token', async () => {
    expect(await connectControlPlane({ url, token: 'mr_secret' }).api.models.list()).toHaveLength(1)
  })

  it('refuses a wrong token, in words', async () => {
    const error = await failureOf(connectControlPlane({ url, token: 'mr_wrong' }).api.models.list())
    expect(error).toMatchObject({
      code: 'MR_API_UNAUTHORIZED',
      kind: 'unauthorized',
      message: expect.stringContaining('token'),
    })
  })

  it.each([
    ['no token', {}],
    ['a foreign Host (DNS rebinding)', { host: 'evil.example:80', authorization: 'Bearer mr_secret' }],
    ['a page of another site', { origin: 'https://evil.example', authorization: 'Bearer mr_secret' }],
    ['an opaque origin', { origin: 'null', authorization: 'Bearer mr_secret' }],
  ])('refuses %s', async (_what, headers) => {
    const answer = await plain({ host: '127.0.0.1', port, path: '/api/v1/models', headers })
    expect(answer.status).toBe(401)
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'MR_API_UNAUTHORIZED' })
  })

  it('tells Prometheus its metrics, those of other processes, and which there are, to who has the token', async () => {
    const headers = { authorization: 'Bearer mr_secret' }
    const get = (path: string, more: object = { headers }) => plain({ host: '127.0.0.1', port, path, ...more })
    expect((await get('/metrics', {})).status).toBe(401)
    expect((await get('/metrics/targets', {})).status).toBe(401)
    const own = await get('/metrics')
    expect(own).toMatchObject({ status: 200, body: '# of itself\n' })
    expect(own.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect((await get('/metrics?process=replica-9')).body).toBe('# of replica-9\n')
    expect(JSON.parse((await get('/metrics/targets')).body)).toEqual([{ targets: [`127.0.0.1:${port}`], labels: {} }])
  })

  it('does not show /internal', async () => {
    const answer = await plain({
      host: '127.0.0.1',
      port,
      path: '/internal/routes',
      headers: { authorization: 'Bearer mr_secret' },
    })
    expect(answer.status).toBe(404)
  })

  it('opens the page by a link that works once, with a cookie that only reads', async () => {
    const link = new URL(await connectControlPlane({ socketPath }).openLink())
    const target = { host: '127.0.0.1', port }
    const first = await plain({ ...target, path: link.pathname + link.search })
    expect(first.status).toBe(303)
    const cookie = String(first.headers['set-cookie']).split(';')[0]!
    expect(String(first.headers['set-cookie'])).toMatch(/HttpOnly; SameSite=Strict/)

    const page = await plain({ ...target, path: '/', headers: { cookie } })
    expect(page.status).toBe(200)
    expect(page.body).toContain('Millrace control API')
    expect(page.body).toContain('/versions/{ref}/gate')
    expect((await plain({ ...target, path: '/api/v1/models', headers: { cookie } })).status).toBe(200)
    expect(
      (
        await plain(
          { ...target, path: '/api/v1/clock/hold', method: 'POST', headers: { cookie } },
          '{"by":"a","why":"b"}',
        )
      ).status,
    ).toBe(401)
    expect((await plain({ ...target, path: link.pathname + link.search })).status).toBe(401)
  })

  it('says which address is taken', async () => {
    const second = apiServer()
    const error = await failureOf(second.listenTcp({ host: '127.0.0.1', port }))
    expect(error).toMatchObject({ code: 'MR_API_ADDRESS_TAKEN', message: expect.stringContaining(`127.0.0.1:${port}`) })
    await second.close(50)
  })
})

interface Plain {
  status: number
  headers: Record<string, unknown>
  body: string
}

function plain(options: object, body = ''): Promise<Plain> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...options, agent: false }, (incoming) => {
      let text = ''
      incoming.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      incoming.once('end', () => resolve({ status: incoming.statusCode!, headers: incoming.headers, body: text }))
      incoming.once('error', reject)
    })
    outgoing.once('error', reject)
    outgoing.end(body)
  })
}
