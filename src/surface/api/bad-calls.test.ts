import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'

import { fakeControlPlane, type FakeControlPlane } from '../../testing/fake-handlers/index.ts'
import { createApiServer, type ApiServer } from './server.ts'

let dir: string
let socketPath: string
let server: ApiServer
let fake: FakeControlPlane
let defects: string[]

beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'mr-api-'))
  socketPath = path.join(dir, 'control.sock')
  fake = fakeControlPlane()
  defects = []
  server = createApiServer({
    handlers: fake.handlers,
    internal: (_request, response) => void response.end(),
    token: 'mr_secret',
    version: '0.1.0',
    onDefect: (error, procedure) => defects.push(`${procedure}: ${error.message}`),
  })
  await server.listenSocket(socketPath)
})

afterEach(async () => {
  await server.close(50)
  await rm(dir, { recursive: true })
})

interface Answer {
  status: number
  body: { code?: string; message?: string; retryable?: boolean; data?: { code: string } }
}

/** @param body - sent as it is where it is text or bytes */
function call(method: 'GET' | 'POST', to: string, body?: unknown): Promise<Answer> {
  const sent =
    body === undefined || body instanceof Buffer ? body : typeof body === 'string' ? body : JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    // Of its own: in the agent's pool Node 22 can't take an error of a write that ended after its answer.
    const going = request({ socketPath, method, path: to, headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode!, body: JSON.parse(text) as Answer['body'] })
      })
    })
    going.on('error', reject)
    going.end(sent)
  })
}

const start = { model: 'late-flight', by: 'ann' }
const retire = { why: 'a test', by: 'ann' }
const at = (path: string) => `/api/v1${path}`

it.each<[string, 'GET' | 'POST', string, unknown, string]>([
  ['an unknown field', 'POST', at('/runs'), { ...start, parms: { depth: 4 } }, 'parms'],
  ['a misspelt dryRun', 'POST', at('/versions/late-flight@1/retire'), { ...retire, dryrun: true }, 'dryrun'],
  ['an unknown query', 'GET', at('/runs?limti=1'), undefined, 'limti'],
  [
    'two ways at once',
    'POST',
    at('/models/m/import'),
    { from: { path: '/x', digest: 'y' }, as: null, ...retire },
    'from',
  ],
  ['a relative path', 'POST', at('/models/m/import'), { from: { path: 'x' }, as: null, ...retire }, 'must be absolute'],
  ['a list for an object', 'POST', at('/runs'), [], 'model'],
  ['null for an object', 'POST', at('/runs'), 'null', 'expected object'],
  ['NUL in a text', 'POST', at('/runs'), { ...start, why: 'a\0b' }, 'why: must be without the character NUL'],
  ['NUL deep inside', 'POST', at('/runs'), { ...start, params: { depth: 'a\0' } }, 'params.depth: must be without'],
  ['NUL in a name', 'POST', at('/runs'), { ...start, params: { 'a\0': 1 } }, 'params: must be without'],
  ['NUL in a path', 'GET', at('/versions/m@a%00b'), undefined, 'must be without the character NUL'],
  ['a time after all dates', 'GET', at('/models/m/live-at?atMs=1e300'), undefined, 'atMs: is after all dates'],
  ['no number', 'GET', at('/models/m/live-at?atMs=Infinity'), undefined, 'atMs'],
  ['a limit twice', 'GET', at('/runs?limit=1&limit=2'), undefined, 'limit'],
  ['a limit of 0', 'GET', at('/runs?limit=0'), undefined, 'limit'],
  ['a number as a text over RPC', 'POST', '/rpc/runs/start', { json: { ...start, seed: '1' } }, 'seed'],
])('refuses %s, names it, and does nothing', async (_what, method, to, body, named) => {
  const answer = await call(method, to, body)
  expect(answer.status).toBe(400)
  const error = answer.body.code === undefined ? (answer.body as { json: Answer['body'] }).json.data! : answer.body
  expect(error).toMatchObject({ code: 'MR_API_INPUT', message: expect.stringContaining(named) as unknown })
  expect(fake.calls).toEqual([])
  expect(defects).toEqual([])
})

it.each<[string, string | Buffer]>([
  ['half a document', '{"model":'],
  ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
])('refuses %s as no JSON', async (_what, body) => {
  expect(await call('POST', at('/runs'), body)).toMatchObject({ status: 400, body: { code: 'MR_API_REQUEST' } })
})

it('refuses what is no message of its RPC, which is no defect', async () => {
  const meta = [[1, '__proto__', 'polluted']]
  const answer = await call('POST', '/rpc/runs/list', { json: { a: {} }, meta })
  expect(answer.status).toBe(400)
  expect(JSON.stringify(answer.body)).toContain('MR_API_REQUEST')
  expect(defects).toEqual([])
  expect({}).not.toHaveProperty('polluted')
})

it('takes names of Object’s own for what they are: no parameters and no models', async () => {
  const body = '{"model":"late-flight","by":"ann","params":{"__proto__":{"admin":true}}}'
  await call('POST', at('/runs'), body)
  expect({}).not.toHaveProperty('admin')
  for (const name of ['__proto__', 'constructor', '..%2f..%2fetc%2fpasswd', "m';drop table run--"])
    expect((await call('GET', at(`/models/${encodeURIComponent(decodeURIComponent(name))}`))).status).toBe(404)
})

it('reads a body that is too large to its end, so that its sender gets the answer', async () => {
  const answer = await call('POST', at('/runs'), Buffer.alloc(20 * 1024 * 1024, 0x20))
  expect(answer).toMatchObject({ status: 413, body: { code: 'MR_API_BODY_TOO_LARGE' } })
})

it('rounds a time to whole milliseconds', async () => {
  await call('POST', at('/versions/late-flight@1/keep'), { untilMs: 1.6, ...retire })
  expect(fake.calls).toEqual([
    { procedure: 'retirement.keep', input: expect.objectContaining({ untilMs: 2 }) as unknown },
  ])
})

it('answers 64 calls at once, tells the others to come again, and takes them then', async () => {
  const gate = Promise.withResolvers<void>()
  let begun = 0
  fake.handlers.models.list = async () => {
    begun++
    await gate.promise
    return []
  }
  let answered = 0
  const calls = Array.from({ length: 70 }, () => call('GET', at('/models')).finally(() => answered++))
  const refused = await Promise.race(calls)
  expect(refused).toMatchObject({ status: 429, body: { code: 'MR_API_OVERLOADED', retryable: true } })
  await expect.poll(() => answered, { timeout: 30_000 }).toBe(6)
  expect(begun).toBe(64)
  gate.resolve()
  const statuses = (await Promise.all(calls)).map(({ status }) => status)
  expect(statuses.filter((status) => status === 200)).toHaveLength(64)
  expect(statuses.filter((status) => status === 429)).toHaveLength(6)
  expect((await call('GET', at('/models'))).status).toBe(200)
})
