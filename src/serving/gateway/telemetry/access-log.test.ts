import { describe, expect, it } from 'vitest'
import { errorAnswer, jsonAnswer } from '../../front/answer.ts'
import { Cancellation } from '../../front/cancellation.ts'
import type { DoneRequest } from '../../front/http/http-front.ts'
import { note } from '../../front/request-note.ts'
import type { AccessLine, AccessLines } from './access-lines.ts'
import { AccessLog } from './access-log.ts'
import { Tracing } from './tracing.ts'

const request = (overrides: Partial<DoneRequest> = {}): DoneRequest => ({
  method: 'POST',
  target: '/v2/models/churn/infer?key=secret',
  headers: { authorization: 'Bearer secret' },
  peer: { address: '10.0.0.7', isLocal: false, isSocket: false, commonName: null },
  cancellation: new Cancellation(),
  ...overrides,
})

function logOf(percent: number, draws: number[] = []) {
  const written: { isError: boolean; line: AccessLine }[] = []
  const said: string[] = []
  const lines: AccessLines = {
    lines: 0,
    dropped: 0,
    write: (isError, line) => void written.push({ isError, line }),
    sayDropped: (count, why) => void said.push(`${count}: ${why}`),
    countDropped() {
      ;(this as { dropped: number }).dropped += 1
    },
    close: () => Promise.resolve(),
  }
  const clock = { ms: 0 }
  const log = new AccessLog({
    lines,
    percent,
    callerOf: ({ headers }) =>
      headers['authorization'] === undefined
        ? { kind: 'answer', answer: errorAnswer(401, 'who?') }
        : { kind: 'caller', name: 'shop' },
    random: () => draws.shift() ?? 0.999,
    nowMs: () => clock.ms,
    limits: { errorsPerSecond: 3 },
  })
  return { log, lines, written, said, clock, tracing: new Tracing(log) }
}

const answered = jsonAnswer(200, {}, [
  'millrace-endpoint',
  'churn',
  'millrace-model-version',
  '3',
  'millrace-prediction-id',
  '01m8341gv3qqfpsya5de1qzr7h',
])

describe('a line of the access log', () => {
  it('says who asked for what, what became of it, and nothing that is secret', () => {
    const { log, written } = logOf(100)
    log.done(request(), answered, 120, 4.56789)
    expect(written).toEqual([
      {
        isError: false,
        line: {
          method: 'POST',
          target: '/v2/models/churn/infer',
          route: '/v2/models/{model}/infer',
          endpoint: 'churn',
          version: '3',
          predictionId: '01m8341gv3qqfpsya5de1qzr7h',
          status: 200,
          bytesIn: 120,
          bytesOut: 2,
          latencyMs: 4.568,
          peer: '10.0.0.7',
          caller: 'shop',
          traceId: null,
          retries: 0,
          sampled: true,
        },
      },
    ])
    expect(JSON.stringify(written)).not.toContain('secret')
  })

  it('says of a refusal what was meant, and that nobody knows by whom', () => {
    const { log, written } = logOf(100)
    log.done(request({ headers: {}, target: '/v2/models/churn/versions/9/infer' }), errorAnswer(401, 'no'), 0, 1)
    expect(written[0]!.line).toMatchObject({ endpoint: 'churn', version: null, caller: null, status: 401 })
  })

  it('says nothing of a stream’s length, and cuts a long path', () => {
    const { log, written } = logOf(100)
    const stream = (async function* () {})()
    log.done(request({ target: `/${'x'.repeat(5_000)}` }), { ...answered, stream }, 0, 1)
    expect(written[0]!.line.target).toHaveLength(200)
    expect(written[0]!.line).toMatchObject({ bytesOut: null, route: null })
  })
})

describe('which requests have a line', () => {
  it('is drawn', () => {
    const { log, written } = logOf(10, [0.05, 0.5, 0.0999, 0.1])
    for (let i = 0; i < 4; i++) log.done(request({ target: '/livez' }), answered, 0, i)
    expect(written.map(({ line }) => line.latencyMs)).toEqual([0, 2])
  })

  it('is drawn once for a request that goes on to a replica, before its answer, so that its trace can begin there', () => {
    const { log, written, tracing } = logOf(10, [0.01, 0.9])
    const traces: (string | undefined)[] = []
    for (const drawn of [true, false]) {
      const { cancellation, headers } = request()
      const call = {
        name: 'churn',
        version: null,
        headers,
        body: Buffer.alloc(0),
        jsonBytes: null,
        caller: 'shop',
        cancellation,
      }
      const entered = tracing.enter(call)
      expect('traceparent' in entered.headers).toBe(drawn)
      log.done(request({ cancellation }), answered, 0, 1)
      traces.push(String(entered.headers['traceparent']).split('-')[1])
    }
    expect(written.map(({ line }) => line.traceId)).toEqual([traces[0]])
  })

  it('does not matter for errors of the server: they have one, up to a limit that is said', async () => {
    const { log, written, said, lines, clock } = logOf(0)
    log.done(request(), answered, 0, 1)
    log.done(request(), errorAnswer(404, 'no'), 0, 1)
    for (let i = 0; i < 5; i++) log.done(request(), errorAnswer(503, 'no'), 0, 1)
    expect(written.map(({ isError, line }) => [isError, line.status, line.sampled])).toEqual([
      [true, 503, false],
      [true, 503, false],
      [true, 503, false],
    ])
    expect(lines.dropped).toBe(2)
    expect(said).toEqual([])
    clock.ms = 1_000
    for (let i = 0; i < 4; i++) log.done(request(), errorAnswer(500, 'no'), 0, 1)
    expect(said).toEqual(['2: more than 3 errors a second'])
    expect(written).toHaveLength(6)
    await log.close()
    expect(said[1]).toBe('1: more than 3 errors a second')
  })

  it('notes of a request how often it was sent again', () => {
    const { log, written } = logOf(0)
    const asked = request()
    note(asked.cancellation, { retries: 2 })
    log.done(asked, errorAnswer(502, 'no'), 0, 1)
    expect(written[0]!.line.retries).toBe(2)
  })
})

describe('a trace at the gateway', () => {
  const parent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  const call = (headers: Record<string, string>) => ({
    name: 'churn',
    version: null,
    headers,
    body: Buffer.alloc(0),
    jsonBytes: null,
    caller: 'anonymous',
    cancellation: new Cancellation(),
  })

  it('goes on with the gateway’s own span', () => {
    const { tracing } = logOf(0)
    const { headers } = tracing.enter(call({ traceparent: parent, tracestate: 'x=1', other: 'kept' }))
    expect(headers['traceparent']).toMatch(new RegExp(`^00-${'a'.repeat(32)}-[0-9a-f]{16}-01$`))
    expect(headers['traceparent']).not.toBe(parent)
    expect(headers).toMatchObject({ tracestate: 'x=1', other: 'kept' })
  })

  it('is begun anew where what came can not be read, without its state', () => {
    const { tracing } = logOf(0)
    const { headers } = tracing.enter(call({ traceparent: 'garbage', tracestate: 'x=1' }))
    expect(headers['traceparent']).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
    expect(headers['tracestate']).toBeUndefined()
  })

  it('costs nothing where there is none: the call goes on as it is', () => {
    const { tracing } = logOf(0)
    const asked = call({ accept: 'x' })
    expect(tracing.enter(asked)).toBe(asked)
    expect(asked.cancellation.note).toBeNull()
  })

  it('comes back only to who asks for it', () => {
    const { tracing } = logOf(0)
    const asked = tracing.enter(call({ traceparent: parent }))
    expect(tracing.leave(asked, answered)).toBe(answered)
    const asking = tracing.enter(call({ 'millrace-return-trace': '1' }))
    expect(tracing.leave(asking, answered).headers.slice(-2)).toEqual(['traceresponse', asking.headers['traceparent']])
    expect(answered.headers).not.toContain('traceresponse')
  })
})
