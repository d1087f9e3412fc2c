import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { EndpointRoute, GatherRoute, RoutedDeployment } from '../../../kernel/contract/routing.ts'
import type { Datatype } from '../../../kernel/model/signature.ts'
import type { Tensor } from '../../../kernel/model/tensor.ts'
import { encodeInferAnswer, parseAnswerTensors } from '../../../kernel/protocol/inference.ts'
import { answerOf, deploymentOf, inferBody, routeOf } from '../../../testing/gateway-fakes.ts'
import { header, inferenceLab, textOf } from '../../../testing/inference-lab.ts'
import { Cancellation } from '../../front/cancellation.ts'

const NAMES = ['late-flight@3', 'trees@1', 'linear@7'] as const

function memberOf(name: string, number: number): RoutedDeployment {
  const model = name.split('@')[0]!
  return deploymentOf({ deploymentId: `deployment-${number}`, version: name, model })
}

const deployments = NAMES.map((name, i) => memberOf(name, i + 1))
const socket = (number: number) => `/deployment-${number}.sock`

function answered(values: number[], datatype: Datatype = 'FP32', extra: object = {}) {
  const outputs = [{ name: 'probability', datatype, shape: [values.length], data: values }]
  return answerOf(200, { model_name: 'm', model_version: '1', id: 'r-1', outputs, ...extra })
}

function gathered(gather: Partial<GatherRoute> = {}, overrides: Partial<EndpointRoute> = {}): EndpointRoute {
  const members = deployments.map(({ deploymentId }, i) => ({ deploymentId, name: NAMES[i]!, weight: 1 }))
  return routeOf({
    endpoint: 'late-flights',
    model: 'late-flights',
    deployments,
    members: members.map(({ deploymentId }) => ({ deploymentId, weightPercent: 100 / 3 })),
    gather: { members, combine: { kind: 'mean' }, deadlineMs: 1_000, quorum: 1, joining: [], ...gather },
    ...overrides,
  })
}

function given(gather: Partial<GatherRoute> = {}, overrides: Partial<EndpointRoute> = {}) {
  const lab = inferenceLab([gathered(gather, overrides)])
  for (const [i, value] of [0.2, 0.4, 0.9].entries()) lab.replicas.script(socket(i + 1), answered([value]))
  return lab
}

const valuesOf = (answer: Parameters<typeof textOf>[0]) =>
  (JSON.parse(textOf(answer)) as { outputs: { name: string; data: unknown[] }[] }).outputs

beforeEach(() => void vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('a gather', () => {
  it('asks every member the same at once, and answers in the name of the endpoint', async () => {
    const { infer, replicas } = given()
    const answer = await infer()
    expect(replicas.asked.map(({ socketPath, request }) => [socketPath, request.model, request.version])).toEqual([
      [socket(1), 'late-flight', '3'],
      [socket(2), 'trees', '1'],
      [socket(3), 'linear', '7'],
    ])
    for (const { request } of replicas.asked) expect(request.body).toBe(inferBody)
    expect(answer?.status).toBe(200)
    expect(JSON.parse(textOf(answer))).toEqual({
      model_name: 'late-flights',
      model_version: 'late-flight@3,trees@1,linear@7',
      id: 'r-1',
      outputs: [{ name: 'probability', datatype: 'FP32', shape: [1], data: [0.5] }],
    })
    expect(header(answer, 'millrace-absent')).toBeUndefined()
    expect(header(answer, 'millrace-model-version')).toBe('late-flight@3,trees@1,linear@7')
  })

  it('names the absent: one that hangs costs the deadline and nobody else', async () => {
    const { infer, replicas } = given()
    replicas.script(socket(2), 'silence')
    const asked = infer()
    await vi.advanceTimersByTimeAsync(1_000)
    const answer = await asked
    expect(answer?.status).toBe(200)
    expect(header(answer, 'millrace-absent')).toBe('trees@1')
    expect(JSON.parse(textOf(answer))).toMatchObject({ parameters: { absent: ['trees@1'] } })
    expect(valuesOf(answer)[0]?.data[0]).toBeCloseTo(0.55, 6)
  })

  it.each<[string, Parameters<ReturnType<typeof given>['replicas']['script']>[1]]>([
    ['has no connection', 'refused'],
    ['dies', 'died'],
    ['answers garbage', 'garbled'],
    ['says 500', answerOf(500, { error: 'out of memory' })],
    ['answers no answer', answerOf(200, { outputs: 'none' })],
  ])('goes on without a member that %s', async (_what, reply) => {
    const { infer, replicas } = given()
    replicas.script(socket(1), reply)
    const asked = infer()
    await vi.advanceTimersByTimeAsync(1_000)
    const answer = await asked
    expect(answer?.status).toBe(200)
    expect(header(answer, 'millrace-absent')).toBe('late-flight@3')
    expect(valuesOf(answer)[0]?.data[0]).toBeCloseTo(0.65, 6)
  })

  it('says 503 with the reason of each where fewer than the quorum answered', async () => {
    const { infer, replicas } = given({ quorum: 2 })
    replicas.script(socket(1), answerOf(500, { error: 'out of memory' }))
    replicas.script(socket(2), 'silence')
    const asked = infer()
    await vi.advanceTimersByTimeAsync(1_000)
    const answer = await asked
    expect(answer?.status).toBe(503)
    expect(header(answer, 'Retry-After')).toBe('1')
    const { error } = JSON.parse(textOf(answer)) as { error: string }
    expect(error).toBe(
      "Endpoint 'late-flights' can't answer: 1 of 3 members answered, 2 are needed. " +
        'late-flight@3: it answered 500: out of memory; trees@1: no answer within 1000 ms.',
    )
  })

  it('does not wait for the deadline once the quorum is out of reach', async () => {
    const { infer, replicas } = given({ quorum: 3 })
    replicas.script(socket(1), answerOf(500, { error: 'out of memory' }))
    replicas.script(socket(2), 'silence')
    expect((await infer())?.status).toBe(503)
    expect(replicas.aborted).toBe(1)
  })

  it('tells the client when all say that the request is at fault', async () => {
    const { infer, replicas } = given()
    for (const number of [1, 2, 3]) replicas.script(socket(number), answerOf(400, { error: "Input 'x' is missing" }))
    const answer = await infer()
    expect(answer?.status).toBe(400)
    expect(textOf(answer)).toBe(`{"error":"Input 'x' is missing"}`)
  })

  it('says 502 where answers can not be combined, and which', async () => {
    const { infer, replicas } = given()
    replicas.script(socket(3), answered([0.1, 0.2]))
    const answer = await infer()
    expect(answer?.status).toBe(502)
    expect(textOf(answer)).toMatch(/can't combine: linear@7: its 'probability' has the shape \[2\]/)
  })

  it('answers nobody when the client has left, and gives up its members', async () => {
    const { infer, replicas, rows } = given()
    replicas.script(socket(1), 'silence')
    const cancellation = new Cancellation()
    const asked = infer({ cancellation })
    await vi.advanceTimersByTimeAsync(1)
    cancellation.cancel('client-gone')
    expect(await asked).toBeNull()
    expect(replicas.aborted).toBe(1)
    expect(rows().find((row) => row.origin === 'live')).toMatchObject({ requests: 1, interrupted: 1, failed: 0 })
  })

  it('asks one version alone where its name is in the path', async () => {
    const { infer, replicas, rows, predictions } = given()
    const answer = await infer({ version: 'trees@1' })
    expect(replicas.asked).toHaveLength(1)
    expect(header(answer, 'millrace-model-version')).toBe('trees@1')
    expect(rows()).toMatchObject([
      { model: 'trees', version: '1', origin: 'live', pinned: [{ caller: 'anonymous', requests: 1 }] },
    ])
    expect(predictions()).toMatchObject([{ model: 'trees', version: '1' }])
  })
})

describe('answers in binary', () => {
  const binary = (value: number, id: string | null = 'r-1') => {
    const tensor: Tensor = { datatype: 'FP32', shape: [1], data: Float32Array.of(value) }
    const answer = { modelName: 'm', modelVersion: '1', id, outputs: { probability: tensor } }
    const { body, jsonBytes } = encodeInferAnswer(answer, new Set(['probability']))
    const headers = new Map([['inference-header-content-length', String(jsonBytes)]])
    return { status: 200, headers, body, jsonBytes }
  }

  it('make a binary answer, which the log keeps with the length of its JSON', async () => {
    const { infer, replicas, predictions } = given()
    for (const [i, value] of [0.25, 0.5, 0.75].entries()) replicas.script(socket(i + 1), binary(value))
    const answer = await infer()
    const jsonBytes = Number(header(answer, 'inference-header-content-length'))
    const { outputs } = parseAnswerTensors(answer!.body, { jsonBytes })
    expect(outputs).toEqual({ probability: { datatype: 'FP32', shape: [1], data: Float32Array.of(0.5) } })
    expect(predictions().map(({ responseJsonBytes }) => typeof responseJsonBytes)).toEqual(Array(4).fill('number'))
  })

  it('are JSON among server-sent events', async () => {
    const lab = given()
    for (const number of [1, 2, 3]) lab.replicas.script(socket(number), binary(0.25))
    const answer = await lab.infer({ headers: { accept: 'text/event-stream' } })
    const parts: string[] = []
    for await (const part of answer!.stream!) parts.push(part.toString())
    expect(parts).toHaveLength(4)
    for (const part of parts) expect(part).toContain('"shape":[1],"data":[0.25]')
  })
})

describe('the first answer', () => {
  it('is enough: the others are given up, and are absent from nothing', async () => {
    const { infer, replicas, rows } = given({ combine: { kind: 'first' }, quorum: 2 })
    replicas.script(socket(1), 'silence')
    replicas.script(socket(2), 'silence')
    const answer = await infer()
    expect(valuesOf(answer)[0]?.data[0]).toBeCloseTo(0.9, 6)
    expect(header(answer, 'millrace-absent')).toBeUndefined()
    expect(replicas.aborted).toBe(2)
    await vi.advanceTimersByTimeAsync(0)
    expect(rows().filter((row) => row.origin === 'member')).toMatchObject([
      { model: 'late-flight', requests: 1, failed: 0, interrupted: 1 },
      { model: 'trees', requests: 1, failed: 0, interrupted: 1 },
      { model: 'linear', requests: 1, failed: 0, interrupted: 0 },
    ])
  })
})

describe('what a gather leaves behind', () => {
  it('is one record of its own with the absent, and one of each member under its model, found by labels', async () => {
    const { infer, replicas, predictions } = given()
    replicas.script(socket(2), 'refused')
    const asked = infer({ caller: 'ann' })
    await vi.advanceTimersByTimeAsync(1_000)
    const answer = await asked
    const [own, ...members] = predictions()
    expect(own).toMatchObject({
      predictionId: header(answer, 'millrace-prediction-id'),
      endpoint: 'late-flights',
      model: 'late-flights',
      version: 'late-flight@3,trees@1,linear@7',
      origin: 'live',
      shadowOf: null,
      absent: ['trees@1'],
    })
    const facts = { endpoint: 'late-flights', origin: 'live', shadowOf: own?.predictionId, caller: 'ann', trial: null }
    expect(members).toMatchObject([
      { ...facts, model: 'late-flight', version: '3', status: 200 },
      { ...facts, model: 'linear', version: '7', status: 200 },
    ])
  })

  it('is counted once as a request, and apart for each member; a failure that was made good is rescued', async () => {
    const { infer, replicas, rows } = given()
    replicas.script(socket(2), answerOf(500, { error: 'x' }))
    await infer()
    expect(rows()).toMatchObject([
      { model: 'late-flights', origin: 'live', requests: 1, failed: 0 },
      { model: 'late-flight', version: '3', origin: 'member', requests: 1, failed: 0 },
      { model: 'trees', version: '1', origin: 'member', requests: 1, failed: 1, rescued: 1 },
      { model: 'linear', version: '7', origin: 'member', requests: 1, failed: 0 },
    ])
  })

  it('is nothing but counts where the endpoint does not log', async () => {
    const { infer, predictions, rows } = given({}, { logMode: 'off' })
    expect((await infer())?.status).toBe(200)
    expect(predictions()).toEqual([])
    expect(rows()).toHaveLength(4)
  })
})

describe('routes that change under a gather', () => {
  it('lead a member that is gone to its successor', async () => {
    const lab = given({ quorum: 3 })
    const next = memberOf('trees@2', 9)
    const route = gathered({ quorum: 3 })
    const members = route.gather!.members.with(1, { deploymentId: 'deployment-9', name: 'trees@2', weight: 1 })
    lab.replicas.script(socket(9), answered([0.7]))
    lab.replicas.script(socket(2), 'refused')
    const asked = lab.infer()
    lab.route({
      ...route,
      deployments: [deployments[0]!, deployments[2]!, next],
      gather: { ...route.gather!, members },
    })
    await vi.advanceTimersByTimeAsync(1_500)
    const answer = await asked
    expect(answer?.status).toBe(200)
    expect(header(answer, 'millrace-absent')).toBeUndefined()
    expect(valuesOf(answer)[0]?.data[0]).toBeCloseTo(0.6, 6)
  })

  it('ask none that could never be combined, and name it', async () => {
    const odd = { ...deployments[1]!, signature: { ...deployments[1]!.signature, outputs: [] } }
    const { infer, replicas } = given({}, { deployments: [deployments[0]!, odd, deployments[2]!] })
    const answer = await infer()
    expect(replicas.asked).toHaveLength(2)
    expect(header(answer, 'millrace-absent')).toBe('trees@1')
  })
})

describe('a version that joins', () => {
  const joining = (overrides: Partial<EndpointRoute> = {}) => {
    const candidate = memberOf('trees@2', 9)
    const mirrors = [{ deploymentId: 'deployment-9', sharePercent: 100 }]
    const gather = { joining: [{ deploymentId: 'deployment-9' }] }
    return given(gather, { deployments: [...deployments, candidate], mirrors, ...overrides })
  }

  it('gets copies after the answer, which are counted for it and logged as a shadow of the answer', async () => {
    const { infer, replicas, predictions, rows } = joining()
    const answer = await infer()
    expect(replicas.asked).toHaveLength(3)
    expect(valuesOf(answer)[0]?.data[0]).toBeCloseTo(0.5, 6)
    answer?.afterSent?.()
    await vi.advanceTimersByTimeAsync(0)
    expect(replicas.asked[3]?.request).toMatchObject({ model: 'trees', version: '2' })
    expect(rows().find((row) => row.origin === 'shadow')).toMatchObject({
      endpoint: 'late-flights',
      model: 'trees',
      version: '2',
      trial: null,
      requests: 1,
    })
    const id = header(answer, 'millrace-prediction-id')
    expect(predictions().at(-1)).toMatchObject({ model: 'trees', version: '2', origin: 'shadow', shadowOf: id })
  })

  it('is counted also where nothing is logged', async () => {
    const { infer, rows, predictions } = joining({ logMode: 'off' })
    ;(await infer())?.afterSent?.()
    await vi.advanceTimersByTimeAsync(0)
    expect(rows().find((row) => row.origin === 'shadow')).toMatchObject({ version: '2', requests: 1 })
    expect(predictions()).toEqual([])
  })
})

describe('server-sent events', () => {
  const eventsOf = async (lab: ReturnType<typeof given>) => {
    const answer = await lab.infer({ headers: { accept: 'text/event-stream' } })
    const reading = (async () => {
      let text = ''
      for await (const part of answer?.stream ?? []) text += part.toString()
      return text
    })()
    await vi.advanceTimersByTimeAsync(1_000)
    const events = (await reading)
      .split('\n\n')
      .filter((text) => text !== '')
      .map((text) => {
        const [event = '', data = ''] = text.split('\n')
        return { event: event.replace('event: ', ''), data: JSON.parse(data.replace('data: ', '')) as unknown }
      })
    return { answer, events }
  }

  it('give each answer as it comes, then the combined one', async () => {
    const lab = given()
    lab.replicas.script(socket(2), 'silence')
    const { answer, events } = await eventsOf(lab)
    expect(header(answer, 'Content-Type')).toBe('text/event-stream')
    expect(events.map(({ event }) => event)).toEqual(['member', 'member', 'absent', 'answer'])
    expect(events[0]?.data).toMatchObject({
      member: 'late-flight@3',
      answer: { model_name: 'late-flight', model_version: '3', outputs: [{ name: 'probability' }] },
    })
    expect(events[2]?.data).toEqual({ member: 'trees@1', error: 'no answer within 1000 ms' })
    expect(events[3]?.data).toMatchObject({ model_name: 'late-flights', parameters: { absent: ['trees@1'] } })
    expect(lab.predictions()[0]?.predictionId).toBe(header(answer, 'millrace-prediction-id'))
  })

  it('end with an error where there is no answer', async () => {
    const lab = given({ quorum: 3 })
    lab.replicas.script(socket(1), answerOf(500, { error: 'x' }))
    const { events } = await eventsOf(lab)
    expect(events.at(-1)).toMatchObject({
      event: 'error',
      data: { status: 503, error: expect.stringMatching(/of 3 members answered, 3 are needed/) as string },
    })
  })

  it('stop when the client leaves: its members are given up', async () => {
    const lab = given()
    lab.replicas.script(socket(2), 'silence')
    const answer = await lab.infer({ headers: { accept: 'text/event-stream' } })
    const events = answer!.stream![Symbol.asyncIterator]()
    await events.next()
    await events.return?.()
    await vi.advanceTimersByTimeAsync(0)
    expect(lab.replicas.aborted).toBe(1)
    expect(lab.rows().find((row) => row.origin === 'live')).toMatchObject({ interrupted: 1 })
  })
})

describe('whatever its members do', () => {
  type Does = 'answers' | 'says 400' | 'says 500' | 'dies' | 'is refused' | 'hangs' | 'answers garbage'
  const REPLIES: Record<Does, Parameters<ReturnType<typeof given>['replicas']['script']>[1]> = {
    answers: answered([0.5]),
    'says 400': answerOf(400, { error: 'bad' }),
    'says 500': answerOf(500, { error: 'broken' }),
    dies: 'died',
    'is refused': 'refused',
    hangs: 'silence',
    'answers garbage': answerOf(200, 'garbage'),
  }
  const does = fc.constantFrom(...(Object.keys(REPLIES) as Does[]))

  it('an endpoint answers by its quorum, names who is absent, counts each once, and holds nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.tuple(does, does, does), fc.integer({ min: 1, max: 3 }), async (members, quorum) => {
        const lab = given({ quorum })
        for (const [i, member] of members.entries()) lab.replicas.script(socket(i + 1), REPLIES[member])
        const asked = lab.infer()
        await vi.advanceTimersByTimeAsync(1_100)
        const answer = await asked
        const good = members.filter((member) => member === 'answers').length
        const fault = good === 0 && members.includes('says 400')
        expect(answer?.status).toBe(good >= quorum ? 200 : fault ? 400 : 503)
        const absent = NAMES.filter((_name, i) => members[i] !== 'answers')
        expect(header(answer, 'millrace-absent')).toBe(
          good >= quorum && absent.length > 0 ? absent.join(', ') : undefined,
        )
        const rows = lab.rows()
        expect(rows.filter((row) => row.origin === 'live')).toMatchObject([{ requests: 1 }])
        expect(rows.filter((row) => row.origin === 'member').map(({ requests }) => requests)).toEqual([1, 1, 1])
        expect(lab.predictions()).toHaveLength(good >= quorum ? good + 1 : 0)
        expect(lab.pools.inFlight()).toEqual([])
      }),
      { seed: 7, numRuns: 150 },
    )
  })
})

describe('a stream of events', () => {
  it('ends with a 504 where the answer can not be made in the time of the endpoint', async () => {
    const lab = given({ deadlineMs: 100 }, { timeoutMs: 500, logMode: 'durable' })
    lab.log.hold = new Promise(() => undefined) // a log that never gets to write
    const answer = await lab.infer({ headers: { accept: 'text/event-stream' } })
    const parts: string[] = []
    const reading = (async () => {
      for await (const part of answer!.stream!) parts.push(part.toString())
    })()
    await vi.advanceTimersByTimeAsync(600)
    await reading
    expect(parts).toHaveLength(4)
    expect(parts[3]).toContain('"status":504')
  })

  it('takes the place of a request for as long as it is made', async () => {
    const lab = given({}, { limits: { concurrency: 1, perCaller: null } })
    lab.replicas.script(socket(2), 'silence')
    const headers = { accept: 'text/event-stream' }
    expect((await lab.infer({ headers }))?.status).toBe(200)
    expect((await lab.infer({ headers }))?.status).toBe(503)
    await vi.advanceTimersByTimeAsync(1_000)
    expect((await lab.infer({ headers }))?.status).toBe(200)
    await vi.advanceTimersByTimeAsync(1_000)
  })
})
