import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { EndpointRoute, FallbackRoute } from '../../kernel/contract/routing.ts'
import type { Signature, TensorSpec } from '../../kernel/model/signature.ts'
import { parseInferResponse } from '../../kernel/protocol/inference.ts'
import { answerOf, deploymentOf, routeOf } from '../../testing/gateway-fakes.ts'
import { header, inferenceLab, textOf } from '../../testing/inference-lab.ts'
import { Cancellation } from '../front/cancellation.ts'
import { constantAnswer } from './constant-answer.ts'
import { modelReadiness } from './metadata.ts'
import { RoutingSnapshotError } from './errors.ts'
import { parseSnapshot } from './routing-snapshot.ts'
import { buildTable } from './routing-table.ts'

const live = deploymentOf({ deploymentId: 'deployment-1' })
const old = deploymentOf({ deploymentId: 'deployment-0' })
const constant: FallbackRoute = { kind: 'constant', outputs: { probability: 0.25 } }
const version: FallbackRoute = { kind: 'version', deploymentId: 'deployment-0' }
const disabled = { why: 'it went mad' }

const route = (overrides: Partial<EndpointRoute>): EndpointRoute =>
  routeOf({
    deployments: [old, live],
    members: [{ deploymentId: 'deployment-1', weightPercent: 100 }],
    ...overrides,
  })

const rowsBody = (rows: number): Buffer =>
  Buffer.from(
    JSON.stringify({
      id: 'a',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [rows, 2], data: Array.from({ length: rows * 2 }, () => 1) }],
    }),
  )

beforeEach(() => void vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('a disabled endpoint', () => {
  it('answers 503 with the reason where its fallback is an error, and asks no version', async () => {
    const { infer, replicas, rows, predictions } = inferenceLab([route({ disabled })])
    const answer = await infer()
    expect(answer?.status).toBe(503)
    expect(textOf(answer)).toBe(`{"error":"Endpoint 'late-flights' is disabled: it went mad."}`)
    expect(header(answer, 'millrace-fallback')).toBeUndefined()
    expect(replicas.asked).toEqual([])
    expect(predictions()).toEqual([])
    expect(rows()).toMatchObject([{ version: '', origin: 'fallback', trial: null, requests: 1, failed: 1 }])
  })

  it('answers with the constant, one value per row, marked and logged as no prediction of a version', async () => {
    const { infer, replicas, rows, predictions } = inferenceLab([route({ disabled, fallback: constant })])
    const answer = await infer({ body: rowsBody(8) })
    expect(answer?.status).toBe(200)
    expect(header(answer, 'millrace-fallback')).toBe('constant')
    expect(header(answer, 'millrace-model-version')).toBeUndefined()
    expect(header(answer, 'millrace-prediction-id')).toHaveLength(26)
    expect(JSON.parse(textOf(answer))).toEqual({
      model_name: 'late-flight',
      model_version: '',
      id: 'a',
      outputs: [{ name: 'probability', datatype: 'FP32', shape: [8], data: Array.from({ length: 8 }, () => 0.25) }],
    })
    expect(replicas.asked).toEqual([])
    expect(predictions()).toMatchObject([
      { version: '', origin: 'fallback', trial: null, shadowOf: null, status: 200, response: answer?.body },
    ])
    expect(rows()).toMatchObject([{ version: '', origin: 'fallback', requests: 1, failed: 0, firstAnswerAtMs: null }])
  })

  it('answers with the version that stands in, marked, logged and counted apart', async () => {
    const { infer, predictions, rows } = inferenceLab([route({ disabled, fallback: version, trial: 'trial-1' })])
    const answer = await infer()
    expect(header(answer, 'millrace-fallback')).toBe('version')
    expect(header(answer, 'millrace-model-version')).toBe('0')
    expect(predictions()).toMatchObject([{ version: '0', origin: 'fallback', trial: null }])
    expect(rows()).toMatchObject([{ version: '0', origin: 'fallback', trial: null, requests: 1, failed: 0 }])
  })

  it('finds a version of another model under the name that its replicas know', async () => {
    const other = deploymentOf({ deploymentId: 'deployment-0', version: 'late-flight-simple@3' })
    const { infer, replicas, predictions } = inferenceLab([
      route({ disabled, fallback: version, deployments: [other, live] }),
    ])
    expect(header(await infer(), 'millrace-model-version')).toBe('late-flight-simple@3')
    expect(replicas.asked[0]?.request).toMatchObject({ model: 'late-flight-simple', version: '3' })
    expect(predictions()).toMatchObject([{ model: 'late-flight', version: 'late-flight-simple@3', origin: 'fallback' }])
  })

  it('gives the fallback also to requests that name a version', async () => {
    const { infer, replicas, rows } = inferenceLab([route({ disabled, fallback: constant })])
    expect(header(await infer({ version: '1', caller: 'a' }), 'millrace-fallback')).toBe('constant')
    expect(replicas.asked).toEqual([])
    expect(rows()).toMatchObject([
      { version: '1', origin: 'live', requests: 0, pinned: [{ caller: 'a', requests: 1 }] },
      { version: '', origin: 'fallback', requests: 1, pinned: [] },
    ])
  })

  it('refuses what no version could read with 400', async () => {
    const { infer, rows, predictions } = inferenceLab([route({ disabled, fallback: constant })])
    for (const body of ['{"inputs":[', '{}', '{"inputs":[{"name":"x","datatype":"FP32","shape":[99,2],"data":[]}]}']) {
      expect((await infer({ body: Buffer.from(body) }))?.status).toBe(400)
    }
    expect(predictions()).toEqual([])
    expect(rows()).toMatchObject([{ version: '', origin: 'fallback', requests: 3, failed: 0 }])
  })

  it.each([
    [{ kind: 'constant', outputs: { probability: 'high' } } as const, 'is \\"high\\", which is no value of type FP32'],
    [{ kind: 'constant', outputs: { other: 1 } } as const, 'no output of the names'],
    [{ kind: 'version', deploymentId: 'deployment-9' } as const, 'its version is not deployed'],
  ])('says why its fallback can not answer: %j', async (fallback, why) => {
    const { infer, rows } = inferenceLab([route({ disabled, fallback })])
    const answer = await infer()
    expect(answer?.status).toBe(503)
    expect(textOf(answer)).toContain('is disabled: it went mad.')
    expect(textOf(answer)).toContain(why)
    expect(rows()).toMatchObject([{ version: '', origin: 'fallback', requests: 1, failed: 1 }])
  })

  it('says so too where the version that stands in fails', async () => {
    const { infer, replicas, rows } = inferenceLab([route({ disabled, fallback: version })])
    replicas.script('/deployment-0.sock', 'refused')
    replicas.ready('/deployment-0.sock', false)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(textOf(await answer)).toContain('its version failed too')
    expect(rows()).toMatchObject([{ version: '0', origin: 'fallback', requests: 1, failed: 1 }])
  })

  it('is itself again with the next routes', async () => {
    const { infer, route: publish } = inferenceLab([route({ disabled, fallback: constant })])
    expect(header(await infer(), 'millrace-fallback')).toBe('constant')
    publish(route({ fallback: constant }))
    const answer = await infer()
    expect(header(answer, 'millrace-fallback')).toBeUndefined()
    expect(header(answer, 'millrace-model-version')).toBe('1')
  })
})

describe('where no live member can answer, the fallback', () => {
  it('answers instead of a version without replicas, counted as its failure that was made good', async () => {
    const { infer, rows, predictions } = inferenceLab([
      route({ deployments: [old, { ...live, replicas: [] }], fallback: version }),
    ])
    const answer = await infer()
    expect(answer?.status).toBe(200)
    expect(header(answer, 'millrace-fallback')).toBe('version')
    expect(predictions()).toMatchObject([{ version: '0', origin: 'fallback' }])
    expect(rows()).toMatchObject([
      { version: '0', origin: 'fallback', requests: 1, failed: 0 },
      { version: '1', origin: 'live', requests: 1, failed: 1, rescued: 1 },
    ])
  })

  it('answers instead of a version whose replicas died', async () => {
    const { infer, replicas, rows } = inferenceLab([route({ fallback: constant })])
    replicas.script('/deployment-1.sock', 'died')
    replicas.ready('/deployment-1.sock', false)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(header(await answer, 'millrace-fallback')).toBe('constant')
    expect(rows()).toMatchObject([
      { version: '', origin: 'fallback', requests: 1 },
      { version: '1', origin: 'live', requests: 1, failed: 1, rescued: 1 },
    ])
  })

  it('answers where there is no member at all', async () => {
    const { infer, rows } = inferenceLab([route({ members: [], fallback: constant })])
    expect((await infer())?.status).toBe(200)
    expect(rows()).toMatchObject([
      { version: '', origin: 'fallback', requests: 1, failed: 0 },
      { version: '', origin: 'live', requests: 1, failed: 1, rescued: 1 },
    ])
  })

  it('is not asked by a request that names a version: it wants that one', async () => {
    const { infer, rows } = inferenceLab([route({ deployments: [old, { ...live, replicas: [] }], fallback: constant })])
    const answer = await infer({ version: '1' })
    expect(answer?.status).toBe(503)
    expect(header(answer, 'millrace-fallback')).toBeUndefined()
    expect(rows()).toMatchObject([{ version: '1', origin: 'live', failed: 1, pinned: [{ requests: 1 }] }])
  })

  it('does not stand in for answers, be they errors, nor for time-outs', async () => {
    const { infer, replicas } = inferenceLab([route({ fallback: constant, timeoutMs: 300 })])
    replicas.script('/deployment-1.sock', answerOf(400, { error: 'x' }), answerOf(500, { error: 'y' }), 'silence')
    expect((await infer())?.status).toBe(400)
    expect((await infer())?.status).toBe(500)
    const late = infer()
    await vi.advanceTimersByTimeAsync(300)
    expect((await late)?.status).toBe(504)
  })

  it('is not the version that has just failed', async () => {
    const { infer, replicas } = inferenceLab([route({ fallback: { kind: 'version', deploymentId: 'deployment-1' } })])
    replicas.script('/deployment-1.sock', 'refused')
    replicas.ready('/deployment-1.sock', false)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(1_000)
    expect((await answer)?.status).toBe(503)
    expect(textOf(await answer)).toContain('it is the version that failed')
    expect(replicas.asked).toHaveLength(1)
  })

  it('is not brought a request that has killed three replicas', async () => {
    const replicas3 = ['a', 'b', 'c'].map((name) => ({ replicaId: name, socketPath: `/${name}` }))
    const { infer, replicas } = inferenceLab([
      route({ deployments: [old, { ...live, replicas: replicas3 }], fallback: version }),
    ])
    for (const { socketPath } of replicas3) replicas.script(socketPath, 'died')
    const answer = await infer()
    expect(answer?.status).toBe(502)
    expect(replicas.asked.map(({ socketPath }) => socketPath)).toEqual(['/a', '/b', '/c'])
  })

  it('in durable mode is given only once it is logged', async () => {
    const { infer, log, rows } = inferenceLab([route({ disabled, fallback: constant, logMode: 'durable' })])
    log.failure = new Error('the disk is full')
    const answer = await infer()
    expect(answer?.status).toBe(503)
    expect(rows()).toMatchObject([{ version: '', origin: 'fallback', requests: 1, failed: 1 }])
  })

  it('ends with its client', async () => {
    const { infer, replicas, rows } = inferenceLab([route({ disabled, fallback: version })])
    replicas.script('/deployment-0.sock', 'silence')
    const cancellation = new Cancellation()
    const answer = infer({ cancellation })
    cancellation.cancel('client-gone')
    expect(await answer).toBeNull()
    expect(rows()).toMatchObject([{ version: '0', origin: 'fallback', requests: 1, failed: 0, interrupted: 1 }])
  })
})

describe('the readiness of a model', () => {
  it.each<[string, Partial<EndpointRoute>, string | null, number]>([
    ['is its own while it is enabled', {}, null, 200],
    ['is gone while it is disabled', { disabled }, null, 503],
    ['is gone while it is disabled, for a named version too', { disabled }, '1', 503],
    ['is that of its constant', { disabled, fallback: constant }, null, 200],
    ['is that of the version that stands in', { disabled, fallback: version }, null, 200],
    ['is that of the constant without members', { members: [], fallback: constant }, null, 200],
    [
      'needs a replica of the named version',
      { deployments: [old, { ...live, replicas: [] }], fallback: constant },
      '1',
      503,
    ],
  ])('%s', (_name, overrides, named, status) => {
    const table = buildTable({ epoch: 1, revision: 1, project: 'p', issuedAtMs: 0, endpoints: [route(overrides)] })
    const answers = (id: string): boolean => (table.deployments.get(id)?.replicas.length ?? 0) > 0
    expect(modelReadiness(table, 'late-flights', named, answers).ready).toBe(status === 200)
  })
})

describe('a constant answer', () => {
  const output = (name: string, facts: Partial<TensorSpec> = {}): TensorSpec => ({
    name,
    datatype: 'FP32',
    shape: [-1],
    columns: null,
    ...facts,
  })
  const signature = (...outputs: TensorSpec[]): Signature => ({ inputs: live.signature.inputs, outputs })
  const callWith = (body: Buffer) => ({ body, jsonBytes: null, cancellation: new Cancellation() })
  const made = async (
    outputs: TensorSpec[],
    constants: Record<string, number | string | boolean>,
    body = rowsBody(2),
  ) => {
    const answer = await constantAnswer(routeOf(), signature(...outputs), constants, callWith(body))
    return answer.kind === 'answer' ? parseInferResponse(answer.body).outputs : answer
  }

  it('has the type and the shape of each output, [N], [N, 1] or wider', async () => {
    const outputs = [
      output('p'),
      output('q', { shape: [-1, 1], datatype: 'FP64' }),
      output('both', { shape: [-1, 2] }),
      output('n', { datatype: 'INT64', shape: [-1, -1] }),
      output('b', { datatype: 'BOOL' }),
      output('t', { datatype: 'BYTES', shape: [-1, 1] }),
    ]
    expect(await made(outputs, { p: 0.5, q: 1e300, both: 0, n: 2 ** 53 - 1, b: true, t: 'späť', unknown: 1 })).toEqual({
      p: { datatype: 'FP32', shape: [2], data: [0.5, 0.5] },
      q: { datatype: 'FP64', shape: [2, 1], data: [1e300, 1e300] },
      both: { datatype: 'FP32', shape: [2, 2], data: [0, 0, 0, 0] },
      n: { datatype: 'INT64', shape: [2, 1], data: [2 ** 53 - 1, 2 ** 53 - 1] },
      b: { datatype: 'BOOL', shape: [2], data: [true, true] },
      t: { datatype: 'BYTES', shape: [2, 1], data: ['späť', 'späť'] },
    })
  })

  it('has only outputs that are asked for, where some are', async () => {
    const { inputs } = JSON.parse(rowsBody(1).toString()) as { inputs: unknown }
    const body = Buffer.from(JSON.stringify({ inputs, outputs: [{ name: 'b' }] }))
    expect(Object.keys(await made([output('a'), output('b')], { a: 1, b: 2 }, body))).toEqual(['b'])
  })

  it('has no rows where the request has none', async () => {
    expect(await made([output('p')], { p: 1 }, rowsBody(0))).toEqual({ p: { datatype: 'FP32', shape: [0], data: [] } })
  })

  it.each<[Partial<TensorSpec>, number | string | boolean]>([
    [{ datatype: 'INT8' }, 128],
    [{ datatype: 'UINT32' }, -1],
    [{ datatype: 'INT64' }, 0.5],
    [{ datatype: 'UINT64' }, 2 ** 60],
    [{ datatype: 'BOOL' }, 2],
    [{ datatype: 'FP32' }, 1e39],
    [{ datatype: 'FP64' }, '1'],
    [{ datatype: 'FP16' }, 1],
    [{ shape: [-1, 2_000_000] }, 1],
    [{ datatype: 'BYTES', shape: [-1, 1_000] }, 'x'.repeat(100_000)],
  ])('is none for %j and %s', async (facts, constant_) => {
    expect(await made([output('p', facts)], { p: constant_ })).toMatchObject({ kind: 'unfit' })
  })

  it('is none for outputs that only look as if they had a constant', async () => {
    expect(await made([output('constructor'), output('__proto__')], {})).toMatchObject({ kind: 'unfit' })
  })

  it('is read and written in turns where that is much, and given up once nobody waits', async () => {
    vi.useRealTimers()
    const body = rowsBody(300_000)
    let turns = 0
    const count = (): void => {
      turns += 1
      next = setImmediate(count)
    }
    let next = setImmediate(count)
    const { p } = (await made([output('p')], { p: 0.5 }, body)) as ReturnType<typeof parseInferResponse>['outputs']
    clearImmediate(next)
    expect([p?.shape, p?.data.length]).toEqual([[300_000], 300_000])
    expect(turns).toBeGreaterThan(4)
    const left = callWith(body)
    const answer = constantAnswer(routeOf(), signature(output('p')), { p: 0.5 }, left)
    left.cancellation.cancel('client-gone')
    expect(await answer).toEqual({ kind: 'given-up' })
  })

  it('has 504 where its time ends while it is read, and no answer where the client has left', async () => {
    vi.useRealTimers()
    const { infer, rows } = inferenceLab([route({ disabled, fallback: constant })])
    const body = rowsBody(300_000)
    for (const [reason, status] of [
      ['deadline', 504],
      ['client-gone', undefined],
    ] as const) {
      const cancellation = new Cancellation()
      const answer = infer({ body, cancellation })
      cancellation.cancel(reason)
      expect((await answer)?.status).toBe(status)
    }
    expect(rows()).toMatchObject([{ version: '', origin: 'fallback', requests: 2, failed: 1 }])
  })

  it('is 200 with as many rows as were asked for, or 400, whatever comes', async () => {
    const shape = fc.array(fc.oneof(fc.integer({ min: -2, max: 9 }), fc.double()), { maxLength: 3 })
    const data = fc.array(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.anything()), {
      maxLength: 20,
    })
    const tensor = fc.record({ name: fc.constantFrom('x', 'y'), datatype: fc.constant('FP32'), shape, data })
    const sound = fc.nat({ max: 50 }).map((rows) => JSON.parse(rowsBody(rows).toString()) as object)
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
      fc
        .oneof(
          fc.json(),
          fc.record({ inputs: fc.array(tensor) }).map((value) => text(value)),
        )
        .map((json) => Buffer.from(json)),
      sound.map((value) => Buffer.from(text(value))),
    )
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        const answer = await constantAnswer(routeOf(), signature(output('p')), { p: 0.5 }, callWith(body))
        const rows = answer.kind === 'answer' ? parseInferResponse(answer.body).outputs['p']?.data.length : null
        const asked = answer.kind === 'answer' ? rowsOf(body) : null
        expect(rows).toBe(asked)
        expect(['answer', 'malformed']).toContain(answer.kind)
      }),
      { numRuns: 1_000, seed: 3 },
    )
  })
})

/** JSON of anything, also of what can't be JSON. */
const text = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? Number(inner) : inner))

const rowsOf = (body: Buffer): number | undefined =>
  (JSON.parse(body.toString()) as { inputs: { shape: number[] }[] }).inputs[0]?.shape[0]

describe('a snapshot of any kind', () => {
  it('is refused, or gives every request an answer', async () => {
    const disabled_ = fc.oneof(fc.constant(null), fc.record({ why: fc.string() }), fc.jsonValue())
    const fallback = fc.oneof(
      fc.constantFrom<unknown[]>({ kind: 'error' }, version, constant, { kind: 'constant', outputs: {} }),
      fc.record({ kind: fc.constantFrom('constant', 'version'), outputs: fc.dictionary(fc.string(), fc.jsonValue()) }),
      fc.jsonValue(),
    )
    const mirror = fc.record({
      deploymentId: fc.constantFrom('deployment-1', 'deployment-0', 'nobody'),
      sharePercent: fc.oneof(fc.integer({ min: -1, max: 101 }), fc.constant('50')),
    })
    const facts = fc.record(
      {
        disabled: disabled_,
        fallback,
        mirrors: fc.oneof(fc.array(mirror, { maxLength: 3 }), fc.jsonValue()),
        trial: fc.oneof(fc.constantFrom(null, 'trial-1', ''), fc.jsonValue()),
        members: fc.constantFrom<unknown[]>([], [{ deploymentId: 'deployment-1', weightPercent: 100 }]),
      },
      { requiredKeys: [] },
    )
    let used = 0
    await fc.assert(
      fc.asyncProperty(facts, async (overrides) => {
        const endpoint = { ...route({}), ...overrides } as EndpointRoute
        const json = JSON.stringify({ epoch: 1, revision: 1, project: 'p', issuedAtMs: 0, endpoints: [endpoint] })
        const parsed = refusedOr(() => parseSnapshot(json, 'a test'))
        if (parsed === null) return
        used += 1
        const { infer, rows } = inferenceLab(parsed.endpoints)
        const answer = await infer()
        answer?.afterSent?.()
        await vi.advanceTimersByTimeAsync(10)
        expect([200, 503]).toContain(answer?.status)
        expect(rows().length).toBeGreaterThan(0)
      }),
      { numRuns: 300, seed: 4 },
    )
    expect(used).toBeGreaterThan(30)
  })
})

function refusedOr<T>(parse: () => T): T | null {
  try {
    return parse()
  } catch (error) {
    if (error instanceof RoutingSnapshotError) return null
    throw error
  }
}
