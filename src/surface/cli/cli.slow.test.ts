import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { fakeControlPlane, type FakeControlPlane } from '../../testing/fake-handlers/index.ts'
import { createApiServer, type ApiServer } from '../api/server.ts'
import { controlSocketPath } from '../client/socket-path.ts'

/* The command line as scripts see it: a process, its output, its exit code; against a control plane in memory. */

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url))

let dir: string
let dataDir: string
let server: ApiServer
let gateway: Server
let gatewayUrl: string
let asked: { path: string; body: unknown }[]
const fake: FakeControlPlane = fakeControlPlane()

beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'mr-cli-'))
  dataDir = path.join(dir, '.millrace')
  process.env['XDG_RUNTIME_DIR'] = dir
  server = createApiServer({
    handlers: fake.handlers,
    internal: () => undefined,
    token: 'mr_secret',
    version: '0.1.0',
    onDefect: () => undefined,
  })
  await server.listenSocket(controlSocketPath(dataDir))
  gateway = createServer(async (request, response) => {
    let text = ''
    for await (const piece of request) text += String(piece)
    asked.push({ path: `${request.method} ${request.url}`, body: text === '' ? null : JSON.parse(text) })
    response.setHeader('millrace-prediction-id', 'p-1')
    if (request.url === '/feedback') return response.writeHead(202).end('{"accepted":1}')
    if (request.url?.endsWith('/infer') !== true) return response.end(JSON.stringify(metadata))
    response.end(JSON.stringify(answer))
  })
  await new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', resolve))
  gatewayUrl = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`
})

const metadata = {
  name: 'late-flight',
  versions: ['2'],
  platform: 'onnxruntime_onnx',
  inputs: [{ name: 'X', datatype: 'FP32', shape: [-1, 2] }],
  outputs: [],
}
const answer = {
  model_name: 'late-flight',
  model_version: '2',
  outputs: [{ name: 'p', datatype: 'FP32', shape: [1, 2], data: [0.25, 0.75] }],
}

afterAll(async () => {
  await server.close(50)
  gateway.close().closeAllConnections()
  await rm(dir, { recursive: true })
})

beforeEach(() => {
  asked = []
  fake.calls.length = 0
  fake.outcome = 'released'
})

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

function millrace(
  args: string[],
  options: { stdin?: string; cwd?: string; env?: Record<string, string>; stopAfter?: RegExp } = {},
): Promise<Ended> {
  const env = { ...process.env, MILLRACE_DATA_DIR: dataDir, MILLRACE_BY: 'ann', ...options.env }
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: options.cwd ?? dir, env, timeout: 20_000 })
  const ended: Ended = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', (piece: Buffer) => {
    ended.stdout += piece.toString()
    if (options.stopAfter?.test(ended.stdout) === true) child.kill('SIGTERM')
  })
  child.stderr.on('data', (piece: Buffer) => (ended.stderr += piece.toString()))
  child.stdin.end(options.stdin ?? '')
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ ...ended, code }))
  })
}

const json = (text: string): unknown => JSON.parse(text)

describe('reading', () => {
  it.each([
    [['models'], 'late-flight@2'],
    [['models', 'show', 'late-flight'], 'champion → late-flight@2'],
    [['models', 'show', 'late-flight@2'], 'beats-constant'],
    [
      ['models', 'live', 'late-flight', '--at', '2001-03-01'],
      'late-flight@2  live from 2001-02-05 12:00:00Z and still is',
    ],
    [['runs'], 'run-2'],
    [['runs', 'show', 'run-2'], 'started by manual: by hand'],
    [['triggers'], '0 3 * * MON (Europe/Berlin)'],
    [['triggers', 'late-flight', '--history'], 'overlap is false'],
    [['backfill', 'list'], '3 of 31 queued: run-2 goes first'],
    [['releases'], 'release-1'],
    [['gate', 'show', 'late-flight@2'], 'difference -0.012, low -0.016, high -0.008'],
    [['lake', 'status'], 'agrees: 1,204 answered'],
    [['lake', 'query', 'select 1'], 'hour    n\n   8  120'],
    [['events'], 'run-2  queued → running  its turn'],
    [['status'], 'Waiting for a person\nlate-flight@3'],
    [['status'], 'gRPC  127.0.0.1:7081'],
    [['models', 'show', 'late-flight@2'], 'trainer  train.logLoss 0.41'],
    [['status'], '0 of 2 budgets kept; burning: late-flight latency; spent: late-flight runSuccess (releases frozen)'],
    [['status'], '1 alert fires: late-flight drift of distance  millrace alerts'],
    [['monitors'], 'late-flight  drift    distance  late-flight@1    0.39   0.25  1,000  bad'],
    [['monitors', 'late-flight', '--columns'], 'PSI 0.01 of origin'],
    [['alerts'], 'alert-2: https://hooks.example.com/… (0a1b2c3d) was not told that it is firing: no answer within'],
    [['alerts', '--all'], 'alert-1'],
    [['ack', 'alert-2', '--why', 'on it'], 'alert-2 is acknowledged by'],
    [['silence', 'alert-2', '--for', '2h', '--why', 'known'], 'alert-2 is silenced until'],
    [['callers'], 'booking-site  known  all       millrace_AAAA…, CN=booking.example     1,234  2001-02-05 12:00:00Z'],
    [['callers', '--revoked'], 'old-site      revoked'],
    [['slo'], 'late-flight  latency     99% within 200 ms'],
    [['slo', 'late-flight'], '2 of the last 3 runs were bad\nautomatic release is frozen by freeze-1'],
  ])('prints %j for people', async (args, text) => {
    const { code, stdout, stderr } = await millrace(args)
    expect({ code, stderr: stderr.replace(/\d+ rows in .*\n/, '') }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain(text)
    // No colours and no drawing outside a terminal.
    expect(stdout).not.toContain('\u001b')
  })

  it.each([
    [['models'], [expect.objectContaining({ name: 'late-flight' })]],
    [['runs', 'list', 'late-flight', '--limit', '1'], [expect.objectContaining({ id: 'run-2' })]],
    [['gate', 'show', 'late-flight@champion'], expect.objectContaining({ verdict: 'passed' })],
    [['lake', 'query', 'select 1', '--limit', '1'], expect.objectContaining({ rows: [[8, 120]], truncated: true })],
    [['slo'], expect.arrayContaining([expect.objectContaining({ level: 'runSuccess', state: 'spent' })])],
    [['monitors'], expect.arrayContaining([expect.objectContaining({ monitor: 'drift', verdict: 'bad' })])],
    [['alerts'], [expect.objectContaining({ id: 'alert-2', figures: { psi: 0.4, rows: 1_000 } })]],
    [['status'], expect.objectContaining({ project: { name: 'flights', revision: 1, root: '/p' } })],
  ])('prints %j as one JSON document', async (args, document) => {
    const { code, stdout, stderr } = await millrace([...args, '--json'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(json(stdout)).toEqual(document)
  })

  it('streams logs, stderr to stderr, and as one JSON line per piece', async () => {
    const plain = await millrace(['logs', 'run-2'])
    expect(plain).toEqual({
      code: 0,
      stdout: 'reading 30000 rows\nmillrace:progress 0.5 "half"\n',
      stderr: 'a warning\n',
    })
    const lines = (await millrace(['logs', 'run-2', '-f', '--json'])).stdout.trim().split('\n').map(json)
    expect(lines).toHaveLength(3)
    expect(lines[2]).toMatchObject({ step: 'train', stream: 'stderr', text: 'a warning\n' })
  })

  it('follows events until it is stopped', async () => {
    const { stdout } = await millrace(['events', '-f', '--json'], { stopAfter: /"seq":2/ })
    expect(stdout.trim().split('\n').map(json)).toEqual([
      expect.objectContaining({ seq: 1 }),
      expect.objectContaining({ seq: 2 }),
    ])
  })
})

describe('training', () => {
  it.each([
    ['released', 0, 'released: late-flight@2 answers late-flight, 3.0 s after training ended'],
    ['spare', 0, 'late-flight@2: spare: not better than late-flight@1'],
    ['gate-failed', 1, 'late-flight@2: failed'],
    ['run-failed', 1, "run-3: failed: step 'train' failed: exit status 1"],
    ['awaiting-approval', 8, 'millrace approve late-flight@2'],
  ] as const)('follows a run to %s and ends with %i', async (outcome, code, text) => {
    fake.outcome = outcome
    const ended = await millrace(['train', 'late-flight'])
    expect(ended.stdout).toContain(text)
    expect(ended.code).toBe(code)
  })

  it('passes parameters, seed and as-of on, and only starts it with --no-wait', async () => {
    const args = [
      'train',
      'late-flight',
      '--param',
      'depth=6',
      '--param',
      'fast=true',
      '--seed',
      '7',
      '--as-of',
      '2001-03-01',
      '--why',
      'try',
      '--no-wait',
    ]
    expect(await millrace(args)).toEqual({ code: 0, stdout: 'run-3\n', stderr: '' })
    expect(fake.calls).toEqual([
      {
        procedure: 'runs.start',
        input: {
          model: 'late-flight',
          params: { depth: 6, fast: true },
          seed: 7,
          asOfMs: Date.UTC(2001, 2, 1),
          why: 'try',
          by: 'ann',
        },
      },
    ])
  })

  it('prints run, version and release as one document', async () => {
    const { stdout } = await millrace(['train', 'late-flight', '--json'])
    expect(json(stdout)).toMatchObject({
      run: { id: 'run-3' },
      version: { ref: 'late-flight@2' },
      release: { id: 'release-1' },
    })
  })
})

describe('deciding', () => {
  it('approves and rejects with a reason and a name', async () => {
    expect((await millrace(['approve', 'late-flight@2', '--why', 'holiday'])).code).toBe(0)
    expect((await millrace(['reject', 'late-flight@2', '--why', 'broken export', '--json'])).code).toBe(0)
    expect(fake.calls).toEqual([
      { procedure: 'gates.approve', input: { ref: 'late-flight@2', why: 'holiday', by: 'ann' } },
      { procedure: 'gates.reject', input: { ref: 'late-flight@2', why: 'broken export', by: 'ann' } },
    ])
  })

  it('pauses and resumes triggers, and starts and cancels backfills', async () => {
    expect((await millrace(['pause', 'late-flight', 'cron-1', '--why', 'holiday'])).code).toBe(0)
    expect((await millrace(['resume', 'late-flight', '--catch-up', '--json'])).code).toBe(0)
    const range = ['--from', '2001-01-01', '--to', '2001-01-31', '--param', 'depth=6']
    expect(await millrace(['backfill', 'late-flight', ...range])).toMatchObject({
      code: 0,
      stdout: 'backfill-1 of late-flight: 31 runs, one after the other\n',
    })
    expect((await millrace(['backfill', 'cancel', 'late-flight', 'backfill-1', '--why', 'wrong'])).code).toBe(0)
    expect(fake.calls).toMatchObject([
      { procedure: 'triggers.pause', input: { model: 'late-flight', trigger: 'cron-1', why: 'holiday', by: 'ann' } },
      { procedure: 'triggers.resume', input: { model: 'late-flight', catchUp: true, by: 'ann' } },
      {
        procedure: 'backfills.start',
        input: {
          model: 'late-flight',
          fromMs: Date.UTC(2001, 0, 1),
          untilMs: Date.UTC(2001, 0, 31),
          everyMs: 86_400_000,
          params: { depth: 6 },
        },
      },
      { procedure: 'backfills.cancel', input: { backfill: 'backfill-1', why: 'wrong' } },
    ])
  })

  it('releases and rolls back', async () => {
    const rollback = await millrace(['rollback', 'late-flight', '--to', 'late-flight@1', '--why', 'complaints'])
    expect(rollback).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('rollback of late-flight to late-flight@2  released'),
    })
    expect((await millrace(['release', 'late-flight@1', '--json'])).code).toBe(0)
  })

  it('adds, rotates and revokes callers, pins and unpins them', async () => {
    const added = await millrace(['callers', 'add', 'app', '--endpoint', 'late-flight', '--concurrency', '5'])
    // The key alone, to be piped to where it is kept.
    expect(added.stdout).toMatch(/^millrace_[A-Za-z0-9_-]{43}\n$/)
    expect(added.stderr).toContain("it can't be shown again")
    const rotated = await millrace(['callers', 'rotate', 'app', '--keep', '2d'])
    expect(rotated.stderr).toContain('its earlier keys end at 2001-02-07 12:00:00Z')
    const revoked = await millrace(['callers', 'revoke', 'app', '--why', 'it leaked'])
    expect(revoked.stdout).toBe('app is revoked: it leaked\n')
    const pinned = await millrace(['pin', 'app', 'late-flight', 'late-flight@1', '--for', '7d'])
    expect(pinned.stdout).toBe('app is pinned to late-flight@1 on late-flight until 2001-02-12 12:00:00Z\n')
    expect((await millrace(['unpin', 'app', 'late-flight'])).stdout).toBe('app is no longer pinned on late-flight\n')
    expect((await millrace(['callers', 'add', 'app', '--no-key'])).code).toBe(2)
    expect((await millrace(['callers', 'rotate', 'app', '--keep', 'soon'])).code).toBe(2)
    expect(fake.calls.map(({ procedure }) => procedure)).toEqual([
      'callers.add',
      'callers.rotate',
      'callers.revoke',
      'callers.pin',
      'callers.unpin',
    ])
    expect(fake.calls[0]!.input).toMatchObject({ endpoints: ['late-flight'], concurrency: 5, key: true, by: 'ann' })
  })

  it('freezes and unfreezes, disables and enables', async () => {
    const frozen = await millrace(['freeze', 'late-flight', '--why', 'the schedule changes'])
    expect(frozen.stdout).toContain('late-flight frozen by freeze-1 (person)')
    expect((await millrace(['unfreeze', 'late-flight', '--why', 'over'])).stdout).toContain('ended by ann: over')
    const disabled = await millrace(['disable', 'late-flight', '--why', 'wrong answers'])
    expect(disabled.stdout).toContain('late-flight disabled by ann: wrong answers')
    expect((await millrace(['enable', 'late-flight', '--json'])).code).toBe(0)
    expect((await millrace(['disable', 'late-flight'])).code).toBe(2)
    expect(fake.calls.map((c) => c.procedure)).toEqual([
      'freezes.create',
      'freezes.end',
      'endpoints.disable',
      'endpoints.enable',
    ])
  })

  it('shows who answers an endpoint, and lets a version try again to join one', async () => {
    const shown = await millrace(['endpoints', 'late-flight'])
    expect(shown.stdout).toMatch(/late-flight +serving +one version +late-flight@2 +100% +2\/2/)
    const unknown = await millrace(['endpoints', 'none'])
    expect(unknown).toMatchObject({ code: 4, stderr: expect.stringContaining("There is no endpoint 'none'") })
    expect((await millrace(['join', 'late-flight', 'late-flight@2', '--why', 'mended'])).code).toBe(0)
    expect((await millrace(['join', 'late-flight', 'late-flight@2'])).code).toBe(2)
    expect(fake.calls).toEqual([
      {
        procedure: 'endpoints.join',
        input: { endpoint: 'late-flight', ref: 'late-flight@2', why: 'mended', by: 'ann' },
      },
    ])
  })

  it('retires, revives and keeps, and shows what holds a version', async () => {
    const list = await millrace(['retirement', '--explain'])
    expect(list.stdout).toContain('late-flight@1 is held: alias previous (what a rollback goes to)')
    expect((await millrace(['retirement', '--dry-run'])).stdout).toContain('nothing is on its way out of service')
    expect((await millrace(['retire', 'late-flight@2', '--why', 'x'])).code).toBe(5)
    const asked = await millrace(['retire', 'late-flight@1', '--why', 'x', '--dry-run'])
    expect(asked.stdout).toContain('nothing holds late-flight@1: it would be retired')
    expect((await millrace(['revive', 'late-flight@1', '--json'])).code).toBe(0)
    expect((await millrace(['keep', 'late-flight@1', '--why', 'audit', '--until', '1d'])).code).toBe(0)
    expect((await millrace(['keep', 'late-flight@1', '--why', 'audit', '--until', 'soon'])).code).toBe(2)
    const kept = fake.calls.find((c) => c.procedure === 'retirement.keep')!.input as { untilMs: number }
    expect(kept.untilMs).toBe(Date.UTC(2001, 1, 6, 12))
  })

  it('imports a file by its absolute path into the only model', async () => {
    expect((await millrace(['import', 'model.onnx', '--as', 'champion'])).code).toBe(0)
    expect(fake.calls).toEqual([
      {
        procedure: 'versions.import',
        input: {
          model: 'late-flight',
          from: { path: path.join(dir, 'model.onnx') },
          as: 'champion',
          why: 'imported by hand',
          by: 'ann',
        },
      },
    ])
  })
})

describe('predicting', () => {
  it('builds a request from rows, with the columns that the registry knows', async () => {
    const { code, stdout } = await millrace([
      'predict',
      'late-flight@2',
      '--row',
      '{"income": 10, "age": 3}',
      '--gateway',
      gatewayUrl,
    ])
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: '         P\n0.25, 0.75\nlate-flight@2  prediction p-1\n',
    })
    expect(asked.at(-1)).toEqual({
      path: 'POST /v2/models/late-flight/versions/2/infer',
      body: { inputs: [{ name: 'X', datatype: 'FP32', shape: [1, 2], data: [3, 10] }] },
    })
  })

  it('sends a whole request from stdin as it is', async () => {
    const body = { inputs: [{ name: 'X', datatype: 'FP32', shape: [1, 2], data: [1, 2] }] }
    const { stdout } = await millrace(['predict', 'late-flight', '--data', '-', '--json', '--gateway', gatewayUrl], {
      stdin: JSON.stringify(body),
    })
    expect(json(stdout)).toMatchObject({ predictionId: 'p-1', modelVersion: '2' })
    expect(asked).toEqual([{ path: 'POST /v2/models/late-flight/infer', body }])
  })

  it('sends labels, one by hand or many from a file', async () => {
    expect((await millrace(['feedback', 'p-1', '1', '--gateway', gatewayUrl])).stdout).toBe('1 label accepted\n')
    await writeFile(path.join(dir, 'labels.ndjson'), '{"id":"a","label":true}\n{"id":"b","label":"x","row":2}\n')
    await millrace(['feedback', '--data', '@labels.ndjson', '--gateway', gatewayUrl])
    expect(asked.map((a) => a.body)).toEqual([
      { labels: [{ id: 'p-1', label: 1, row: 0 }] },
      {
        labels: [
          { id: 'a', label: true },
          { id: 'b', label: 'x', row: 2 },
        ],
      },
    ])
  })
})

describe('what goes wrong', () => {
  it.each([
    ['an unknown command', ['trian'], 2, 'Did you mean train?'],
    ['an unknown option', ['runs', '--limt', '3'], 2, "unknown option '--limt'"],
    ['a missing argument', ['train'], 2, "missing required argument 'model'"],
    ['a decision without a reason', ['approve', 'late-flight@2'], 2, "required option '--why <text>' not specified"],
    ['an empty argument', ['train', ''], 2, "The argument 'model' is empty."],
    ['an address that is none', ['predict', 'm', '--row', '{}', '--gateway', 'x'], 2, "must be a URL, not 'x'"],
    ['labels in two ways', ['feedback', 'p-1', '1', '--data', '[]'], 2, 'either one by its id, or by --data'],
    ['no labels', ['feedback', '--data', '[]'], 2, 'There are no labels in --data.'],
    ['an empty reason', ['approve', 'late-flight@2', '--why', ' '], 2, 'A reason is needed: --why is empty.'],
    ['a freeze with an empty reason', ['freeze', 'late-flight', '--why', ''], 2, 'A reason is needed: --why is empty.'],
    ['a version without its number', ['retire', 'late-flight', '--why', 'x'], 2, 'error: ref: a version is written'],
    ['too long a silence', ['silence', 'alert-1', '--for', '900d', '--why', 'x'], 2, 'forMs: must be 90 days at most'],
    [
      'a protection until yesterday',
      ['keep', 'late-flight@2', '--why', 'x', '--until', '1999-01-01'],
      2,
      'is over already',
    ],
    [
      'a protection until never',
      ['keep', 'late-flight@2', '--why', 'x', '--until', '-1d'],
      2,
      '--until must be a duration, or',
    ],
    ['a malformed value', ['train', 'late-flight', '--seed', 'x'], 2, "--seed must be a whole number, not 'x'"],
    ['a malformed version', ['gate', 'show', 'late-flight'], 2, 'a version is written model@number'],
    ['JSON that is none', ['predict', 'late-flight', '--row', '{age: 3}'], 2, '--row is not JSON'],
    ['a model that is not there', ['train', 'nope'], 4, 'There is no model nope.'],
    ['a state that forbids it', ['release', 'late-flight@2'], 5, 'late-flight@2 is live already.'],
    ['a gateway that is not there', ['feedback', 'p', '1', '--gateway', 'http://127.0.0.1:1'], 7, 'cannot be reached'],
    ['no page to open', ['open'], 5, 'listens on its unix socket only'],
  ])('says %s and what to do: %j', async (_what, args, code, text) => {
    const ended = await millrace(args)
    expect(ended.stderr).toContain(text)
    expect(ended.stderr).toMatch(/^error: [\s\S]+\nfix: .+\n$/)
    expect(ended.stderr).not.toMatch(/^\s+at /m)
    expect(ended).toMatchObject({ code, stdout: '' })

    const asJson = await millrace([...args, '--json'])
    expect(asJson).toMatchObject({ code, stdout: '' })
    expect(json(asJson.stderr)).toEqual({
      error: expect.objectContaining({
        code: expect.stringMatching(/^MR_/),
        kind: expect.any(String),
        fix: expect.any(String),
        retryable: expect.any(Boolean),
      }),
    })
  })

  it('shows the stack where it is asked for', async () => {
    const { stderr } = await millrace(['train', 'nope'], { env: { MILLRACE_DEBUG: '1' } })
    expect(stderr).toMatch(/^\s+at /m)
  })

  it('says that nothing runs', async () => {
    const ended = await millrace(['status', '--data-dir', path.join(dir, 'other')])
    expect(ended).toMatchObject({ code: 3, stderr: expect.stringContaining('No Millrace runs on') })
  })

  it('says that there is no project here', async () => {
    const ended = await millrace(['status'], {
      cwd: os.tmpdir(),
      env: { MILLRACE_DATA_DIR: undefined as unknown as string },
    })
    expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining('millrace init') })
  })

  it('finds the configuration upwards, and points at what is wrong in it', async () => {
    const project = path.join(dir, 'project')
    await millrace(['init', project])
    const below = path.join(project, 'data')
    const valid = await millrace(['validate', '--json'], { cwd: below })
    expect(json(valid.stdout)).toMatchObject({ valid: true, sourcePath: expect.stringContaining('millrace.config.ts') })
    expect(
      (await millrace(['status'], { cwd: below, env: { MILLRACE_DATA_DIR: undefined as unknown as string } })).stderr,
    ).toContain(path.join('project', '.millrace'))
    const broken = path.join(dir, 'broken.yaml')
    await writeFile(broken, 'name: x\nmodels:\n  m:\n    trian: python train.py\n')
    const refused = await millrace(['validate', broken])
    expect(refused.code).toBe(2)
    expect(refused.stderr).toMatch(/broken\.yaml:4/)
    // Checked before anything is started.
    expect((await millrace(['up', '--config', broken])).code).toBe(2)
  })

  it('takes down nothing where nothing runs', async () => {
    const other = path.join(dir, 'nothing')
    expect(await millrace(['down', '--data-dir', other])).toMatchObject({
      code: 0,
      stdout: `nothing runs on ${other}\n`,
    })
  })
})

describe('over TCP', () => {
  it('needs the token', async () => {
    const url = await server.listenTcp({ host: '127.0.0.1', port: 0 })
    expect(await millrace(['models', '--url', url])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('MILLRACE_TOKEN'),
    })
    expect((await millrace(['models', '--url', url], { env: { MILLRACE_TOKEN: 'wrong' } })).code).toBe(6)
    expect((await millrace(['models', '--url', url], { env: { MILLRACE_TOKEN: 'mr_secret' } })).code).toBe(0)
    const link = await millrace(['open', '--print'])
    expect(link.stdout).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/open\?ticket=\S+\n$/)
    expect((await fetch(link.stdout.trim(), { redirect: 'manual' })).status).toBe(303)
  })
})
