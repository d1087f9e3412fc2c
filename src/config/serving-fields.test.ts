import { describe, expect, it } from 'vitest'
import { isLoopback } from './loopback.ts'
import type { GatherEndpointConfig, Project, ServingConfig } from './project.ts'
import { readProject } from './read-project.ts'

function projectOf(written: unknown): Project {
  const read = readProject(written, '/work')
  if (read.kind === 'refused') throw new Error(read.findings.map((f) => `${f.path.join('.')}: ${f.message}`).join('\n'))
  return read.project
}
const refusals = (written: unknown): string[] => {
  const read = readProject(written, '/work')
  return read.kind === 'project' ? [] : read.findings.map((f) => `${f.path.join('.')}: ${f.message}. Fix: ${f.fix}`)
}
const models = { m: { train: 'x' }, trees: { train: 'x', endpoint: 'forest' } }
const servingOf = (serving: object): ServingConfig =>
  projectOf({ name: 'p', models: { m: { train: 'x', serving } } }).models[0]!.serving
const servingRefusals = (serving: object) => refusals({ name: 'p', models: { m: { train: 'x', serving } } })
const gatewayOf = (gateway: object) => projectOf({ name: 'p', models, gateway }).gateway
const gatewayRefusals = (gateway: object) => refusals({ name: 'p', models, gateway })
const endpointOf = (endpoint: object): GatherEndpointConfig =>
  projectOf({ name: 'p', models, endpoints: { both: endpoint } }).endpoints[0]!
const endpointRefusals = (endpoints: object) => refusals({ name: 'p', models, endpoints })

describe("a server of the user's own", () => {
  it('is none unless it is declared', () => {
    expect(servingOf({}).server).toBeNull()
  })

  it('runs where training does, and is asked for the model by its name, unless it is said', () => {
    const python = { python: '3.11', lock: 'requirements.lock' }
    const serving = { server: { command: 'python server.py' } }
    const [m] = projectOf({ name: 'p', models: { m: { train: 'x', environment: python, serving } } }).models
    expect(m!.serving.server).toEqual({
      command: 'python server.py',
      environment: { kind: 'python', ...python },
      env: {},
      modelName: 'm',
      readyTimeoutMs: 120_000,
      isPure: true,
    })
    const said = { command: 's', environment: 'inherit', env: { N: 2 }, model: 'iris', readyTimeout: '5s', pure: false }
    expect(servingOf({ server: said }).server).toEqual({
      command: 's',
      environment: { kind: 'inherit' },
      env: { N: '2' },
      modelName: 'iris',
      readyTimeoutMs: 5_000,
      isPure: false,
    })
  })

  it("needs a command, and sets nothing of Millrace's own", () => {
    expect(servingRefusals({ server: {} })).toEqual([expect.stringContaining('models.m.serving.server.command')])
    expect(servingRefusals({ server: { command: 'x', env: { MILLRACE_MODEL_DIR: '/' } } })).toEqual([
      expect.stringContaining('must not start with MILLRACE_'),
    ])
  })
})

describe('a step before the model', () => {
  it('is none unless it is declared', () => {
    expect(servingOf({}).prepare).toBeNull()
  })

  it('runs where training does, and may take as long as a request, unless it is said', () => {
    const python = { python: '3.11', lock: 'requirements.lock' }
    const serving = { timeout: '3s', prepare: { command: 'python prepare.py' } }
    const [m] = projectOf({ name: 'p', models: { m: { train: 'x', environment: python, serving } } }).models
    expect(m!.serving.prepare).toEqual({
      command: 'python prepare.py',
      environment: { kind: 'python', ...python },
      env: {},
      modelName: 'm',
      readyTimeoutMs: 120_000,
      timeoutMs: 3_000,
    })
    const said = { environment: 'inherit', env: { N: 2 }, model: 'iris', readyTimeout: '5s', timeout: '200ms' }
    expect(servingOf({ prepare: { command: 's', ...said } }).prepare).toEqual({
      command: 's',
      environment: { kind: 'inherit' },
      env: { N: '2' },
      modelName: 'iris',
      readyTimeoutMs: 5_000,
      timeoutMs: 200,
    })
  })

  const prepare = { command: 's' }
  const table = { table: 't.parquet', key: 'customer', columns: ['visits'] }
  it.each<[string, object, string]>([
    ['without a command', { prepare: {} }, 'models.m.serving.prepare.command'],
    ['before a server of its own', { prepare, server: { command: 's' } }, 'prepare the request in your server'],
    ['beside a table', { prepare, enrich: [table] }, 'read the table in the step: it lies in MILLRACE_MODEL_DIR'],
    ['for longer than a request takes', { prepare: { ...prepare, timeout: '11s' } }, 'answered with 504 after 10 s'],
    ['that may compute only once', { prepare: { ...prepare, pure: false } }, 'pure'],
  ])('is refused %s', (_, serving, why) => {
    expect(servingRefusals(serving)).toEqual([expect.stringContaining(why)])
  })
})

describe('tables of features', () => {
  const table = { table: 'customers.parquet', key: 'customer', columns: ['visits'] }

  it('never get stale, and refuse unknown keys, unless it is said', () => {
    expect(servingOf({}).enrich).toEqual([])
    expect(servingOf({ enrich: [table] }).enrich).toEqual([
      { ...table, key: { column: 'customer' }, stalenessMs: null, missing: 'error', stale: 'error' },
    ])
    const said = { key: { parameter: 'id' }, staleness: '2d', missing: { visits: 0 }, stale: 'use' }
    expect(servingOf({ enrich: [{ ...table, ...said }] }).enrich).toEqual([
      { ...table, key: { parameter: 'id' }, stalenessMs: 172_800_000, missing: { visits: 0 }, stale: 'use' },
    ])
  })

  const cases: [string, object, RegExp][] = [
    ['no columns', { enrich: [{ ...table, columns: [] }] }, /enrich\.0\.columns: must name a column/],
    ['a path that leads elsewhere', { enrich: [{ ...table, table: '../t.parquet' }] }, /table: must be the path of a/],
    ['an absolute path', { enrich: [{ ...table, table: '/t.parquet' }] }, /table: must be the path of a Parquet file/],
    ['the model', { enrich: [{ ...table, table: 'model.onnx' }] }, /enrich\.0\.table: is the model/],
    [
      'a key that is given',
      { enrich: [{ ...table, key: 'visits' }] },
      /enrich\.0\.key: is 'visits', which a table gives/,
    ],
    [
      'a column twice',
      { enrich: [table, { ...table, table: 'b.parquet' }] },
      /enrich\.1\.columns: gives 'visits' a second/,
    ],
    ['no limit to be beyond', { enrich: [{ ...table, stale: 'use' }] }, /enrich\.0\.stale: has no meaning without/],
    ['no value for a column', { enrich: [{ ...table, missing: {} }] }, /enrich\.0\.missing: has no value for visits/],
    [
      'a value for another column',
      { enrich: [{ ...table, missing: { visits: 0, age: 1 } }] },
      /enrich\.0\.missing: has a value for age, which it does not give/,
    ],
    [
      'a server of its own',
      { server: { command: 's' }, enrich: [table] },
      /^models\.m\.serving\.enrich: is for models that Millrace serves itself/,
    ],
  ]
  it.each(cases)('are refused with %s', (_, serving, expected) => {
    expect(servingRefusals(serving)).toEqual([expect.stringMatching(expected)])
  })
})

describe('a process of its own', () => {
  it('is for heavy models, unless it is said', () => {
    expect(servingOf({}).isolate).toBe('auto')
    expect(servingOf({ isolate: 'always' }).isolate).toBe('always')
  })

  it('is refused with a word that is none, and beside a server of its own', () => {
    expect(servingRefusals({ isolate: true })).toEqual([
      expect.stringMatching(/^models\.m\.serving\.isolate: must be 'auto', 'always' or 'never'/),
    ])
    expect(servingRefusals({ isolate: 'never', server: { command: 's' } })).toEqual([
      expect.stringMatching(/^models\.m\.serving\.isolate: is for models that Millrace serves itself/),
    ])
  })
})

describe('replicas', () => {
  it('are so many, or as many as the load needs', () => {
    expect(servingOf({ replicas: 3 }).replicas).toMatchObject({ min: 3, max: 3 })
    expect(servingOf({ replicas: { max: 8 } }).replicas).toEqual({
      min: 1,
      max: 8,
      targetConcurrency: 8,
      idleMs: 600_000,
      wakeMs: 10_000,
    })
    const said = { min: 0, max: 4, targetConcurrency: 2.5, idle: '1m', wake: '8s' }
    expect(servingOf({ replicas: said }).replicas).toEqual({
      min: 0,
      max: 4,
      targetConcurrency: 2.5,
      idleMs: 60_000,
      wakeMs: 8_000,
    })
  })

  it('are waited for as long as a request may take, and for 30 s at most unless it is said', () => {
    const wakeMs = (serving: object) => servingOf(serving).replicas.wakeMs
    expect(wakeMs({ replicas: { min: 0, max: 1 }, timeout: '5m' })).toBe(30_000)
    expect(wakeMs({ replicas: { min: 0, max: 1, wake: '2m' }, timeout: '5m' })).toBe(120_000)
    expect(wakeMs({ replicas: { min: 0, max: 1 }, timeout: '2s' })).toBe(2_000)
  })

  const cases: [string, object, RegExp][] = [
    ['none at all', { replicas: 0 }, /^models\.m\.serving\.replicas: must be a whole number from 1 to 64\. Fix: write/],
    [
      'a word',
      { replicas: 'two' },
      /^models\.m\.serving\.replicas: must be a whole number from 1 to 64, or \{ min: 1, max: 8 }/,
    ],
    ['a minimum alone', { replicas: { min: 2 } }, /replicas\.max: is missing\. Fix: add max: 8/],
    ['a typo', { replicas: { max: 8, targetConcurency: 2 } }, /is not a field\. Fix: did you mean "targetConcurrency"/],
    ['more than there may be', { replicas: { min: 9, max: 8 } }, /replicas: can't be kept: min 9 is above max 8/],
    ['a target of nothing', { replicas: { max: 8, targetConcurrency: 0 } }, /must be a number from 0\.1 to 10000/],
    [
      'a longer wait than a request may take',
      { replicas: { min: 0, max: 1, wake: '20s' } },
      /wake: is longer than a request may take: it is answered with 504 after 10 s\. Fix: remove it, or make serving/,
    ],
    ['a wait where there is always one', { replicas: { max: 2, wake: '5s' } }, /wake: has no meaning .*\(min 1\)/],
  ]
  it.each(cases)('refuse %s', (_, serving, expected) => {
    expect(servingRefusals(serving)).toEqual([expect.stringMatching(expected)])
  })
})

describe('routes', () => {
  it('keep a caller on a version by a header in any case, or by a parameter', () => {
    expect(servingOf({ sticky: { header: 'X-User' } }).sticky).toEqual({ header: 'x-user' })
    expect(servingOf({ sticky: { parameter: 'User' } }).sticky).toEqual({ parameter: 'User' })
  })

  it('lead what fits a rule to a version by its name or number', () => {
    const rules = [
      { header: 'X-Group', equals: 'beta', version: 'challenger' },
      { parameter: 'group', equals: '', version: 12 },
      { parameter: 'group', equals: 'old', version: '3' },
    ]
    expect(servingOf({ rules }).rules).toEqual([
      { key: { header: 'x-group' }, equals: 'beta', version: 'challenger' },
      { key: { parameter: 'group' }, equals: '', version: '12' },
      { key: { parameter: 'group' }, equals: 'old', version: '3' },
    ])
  })

  const cases: [string, object, RegExp][] = [
    ['both keys', { sticky: { header: 'a', parameter: 'b' } }, /^models\.m\.serving\.sticky/],
    ['a header with a space', { sticky: { header: 'a b' } }, /sticky\.header: must be the name of a header/],
    [
      'a version of no such name',
      { rules: [{ header: 'a', equals: 'b', version: 'champ' }] },
      /rules\.0\.version: must be 'champion', 'previous'/,
    ],
    ['version 0', { rules: [{ header: 'a', equals: 'b', version: 0 }] }, /rules\.0\.version: /],
    ['no value', { rules: [{ header: 'a', version: 1 }] }, /rules\.0\.equals: is missing/],
    [
      'a rule that can never decide',
      {
        rules: [
          { header: 'A', equals: 'b', version: 1 },
          { header: 'a', equals: 'b', version: 2 },
        ],
      },
      /rules\.1: can never decide/,
    ],
    ['a limit that can not be reached', { limits: { concurrency: 5, perCaller: 6 } }, /perCaller: can't be reached/],
    ['a limit of nothing', { limits: { concurrency: 0 } }, /limits\.concurrency: must be a whole number from 1/],
  ]
  it.each(cases)('refuse %s', (_, serving, expected) => {
    expect(servingRefusals(serving)).toEqual([expect.stringMatching(expected)])
  })
})

describe('an endpoint that asks several models', () => {
  it('has every default but its members', () => {
    expect(endpointOf({ gather: { members: ['m', { model: 'trees', versions: 3, weight: 0.5 }] } })).toEqual({
      name: 'both',
      members: [
        { model: 'm', versions: 1, weight: 1 },
        { model: 'trees', versions: 3, weight: 0.5 },
      ],
      combine: { kind: 'all' },
      deadlineMs: 1_000,
      quorum: 1,
      join: { requests: 100, maxErrorShare: 0.01 },
      timeoutMs: 10_000,
      bodyLimitBytes: 16_000_000,
      log: { mode: 'relaxed', samplePercent: 100 },
      limits: { concurrency: null, perCaller: null },
    })
  })

  it('combines in a way of its own', () => {
    const combine = { module: './combine.ts', timeout: '20ms' }
    expect(endpointOf({ gather: { members: ['m'], combine } }).combine).toEqual({
      kind: 'module',
      path: './combine.ts',
      timeoutMs: 20,
    })
  })

  const gather = { members: ['m', 'trees'] }
  const cases: [string, object, RegExp][] = [
    ['no members', { both: { gather: { members: [] } } }, /^endpoints\.both\.gather\.members: must name a model/],
    ['no gather', { both: {} }, /^endpoints\.both\.gather: is missing/],
    [
      'an unknown member',
      { both: { gather: { members: ['m', 'tres'] } } },
      /members\.1: names the unknown model 'tres'\. Fix: did you mean 'trees'/,
    ],
    ['itself', { both: { gather: { members: ['m', 'both'] } } }, /members\.1: is the endpoint itself/],
    [
      'another that asks several',
      { both: { gather }, more: { gather: { members: ['both'] } } },
      /^endpoints\.more\.gather\.members\.0: is an endpoint that asks several models/,
    ],
    [
      'a member twice',
      { both: { gather: { members: ['m', 'm'] } } },
      /members\.1: is listed twice.*model: 'm', versions: 2/,
    ],
    [
      'more answers than members',
      { both: { gather: { ...gather, quorum: 3 } } },
      /quorum: can't be reached: it is 3, and 2/,
    ],
    ['a way that there is not', { both: { gather: { ...gather, combine: 'men' } } }, /combine: .*did you mean 'mean'/],
    ['a deadline after the end', { both: { gather: { ...gather, deadline: '11s' } } }, /deadline: is longer than/],
    ['the name of a model', { m: { gather } }, /^endpoints\.m: is called as a model is/],
    [
      "the name of a model's endpoint",
      { forest: { gather } },
      /^endpoints\.forest: is called as the endpoint of model 'trees'/,
    ],
    ['the name of a table', { labels: { gather } }, /^endpoints\.labels: can't be called 'labels'/],
    ['a name that is not safe', { 'A b': { gather } }, /its name "A b" must be 1 to 40 .*call it "a-b"/],
  ]
  it.each(cases)('is refused with %s', (_, endpoints, expected) => {
    expect(endpointRefusals(endpoints)).toEqual([expect.stringMatching(expected)])
  })

  it('asks no more than 64 versions', () => {
    const names = ['a', 'b', 'c', 'd', 'e']
    const many = Object.fromEntries(names.map((name) => [name, { train: 'x' }]))
    const members = names.map((model) => ({ model, versions: 16 }))
    expect(refusals({ name: 'p', models: many, endpoints: { all: { gather: { members } } } })).toEqual([
      expect.stringMatching(/^endpoints\.all\.gather\.members: are 80 versions, of 64 at most/),
    ])
  })
})

describe('the gateway', () => {
  it('is one process on loopback, without TLS and gRPC, unless it is said', () => {
    expect(gatewayOf({})).toEqual({
      host: '127.0.0.1',
      port: 8_700,
      anonymous: false,
      tls: null,
      grpcPort: null,
      processes: 1,
      accessLogPercent: 0,
      limits: { connections: 8_192, requests: 4_096, headBytes: 16_384, pipelined: 16 },
    })
  })

  it('takes all of it', () => {
    const tls = { certificate: 'tls/a.pem', key: '/etc/tls/a.key' }
    const said = { host: '0.0.0.0', anonymous: true, tls, grpcPort: 0, processes: 4, accessLog: 2.5 }
    expect(gatewayOf({ ...said, limits: { connections: 10 } })).toMatchObject({
      anonymous: true,
      tls: { ...tls, clientAuthorities: null },
      grpcPort: 0,
      processes: 4,
      accessLogPercent: 2.5,
      limits: { connections: 10, requests: 4_096 },
    })
    expect(gatewayOf({ grpcPort: false }).grpcPort).toBe(null)
    expect(gatewayOf({ port: 0, grpcPort: 0 }).grpcPort).toBe(0)
  })

  const cases: [string, object, RegExp][] = [
    [
      'a certificate without its key',
      { tls: { certificate: 'a.pem' } },
      /^gateway\.tls\.key: is missing\. Fix: add key: 'tls/,
    ],
    ['one port for both', { grpcPort: 8_700 }, /^gateway\.grpcPort: is 8700, as the port for HTTP is/],
    ['a port that there is not', { port: 70_000 }, /^gateway\.port: must be a whole number from 0 to 65535/],
    ['no process', { processes: 0 }, /^gateway\.processes: must be a whole number from 1 to 64/],
    [
      'a limit in the wrong place',
      { requests: 10 },
      /^gateway\.requests: is not a field here\. Fix: move it to gateway\.limits/,
    ],
  ]
  it.each(cases)('is refused with %s', (_, gateway, expected) => {
    expect(gatewayRefusals(gateway)).toEqual([expect.stringMatching(expected)])
  })

  it('may be reached from other machines: who calls needs a key then', () => {
    expect(gatewayRefusals({ host: '0.0.0.0' })).toEqual([])
    const hosts = ['127.0.0.1', '127.8.8.8', 'localhost', '::1', '0.0.0.0', '::', '127.evil.example', 'box.local']
    expect(hosts.filter(isLoopback)).toEqual(['127.0.0.1', '127.8.8.8', 'localhost', '::1'])
  })
})
