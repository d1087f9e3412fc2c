import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { EndpointRoute, TrafficReport } from '../../kernel/contract/routing.ts'
import { fineLatencyBucket } from '../../kernel/contract/routing.ts'
import { answerOf, deploymentOf, routeOf } from '../../testing/gateway-fakes.ts'
import { header, inferenceLab } from '../../testing/inference-lab.ts'
import { Cancellation } from '../front/cancellation.ts'

const champion = deploymentOf({ deploymentId: 'deployment-1' })
const challenger = deploymentOf({ deploymentId: 'deployment-2' })

function trialRoute(overrides: Partial<EndpointRoute> = {}): EndpointRoute {
  const members = [
    { deploymentId: 'deployment-1', weightPercent: 90 },
    { deploymentId: 'deployment-2', weightPercent: 10 },
  ]
  return routeOf({ deployments: [champion, challenger], members, trial: 'trial-7', ...overrides })
}

const CHAMPION = 0.5
const CHALLENGER = 0.95

const counts = (rows: TrafficReport[]) =>
  rows.map(({ version, trial, requests, failed, rescued = 0 }) => ({ version, trial, requests, failed, rescued }))

beforeEach(() => void vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('a request in a trial', () => {
  it('carries it into the log and the report, under the version that was drawn', async () => {
    const { infer, draws, predictions, rows } = inferenceLab([trialRoute()])
    for (const draw of [CHAMPION, CHALLENGER, CHAMPION]) {
      draws.push(draw)
      await infer()
    }
    expect(predictions().map(({ version, trial }) => [version, trial])).toEqual([
      ['1', 'trial-7'],
      ['2', 'trial-7'],
      ['1', 'trial-7'],
    ])
    expect(counts(rows())).toEqual([
      { version: '1', trial: 'trial-7', requests: 2, failed: 0, rescued: 0 },
      { version: '2', trial: 'trial-7', requests: 1, failed: 0, rescued: 0 },
    ])
  })

  it('that names its version takes no part in it, and is counted by who sent it', async () => {
    const { infer, predictions, rows } = inferenceLab([trialRoute()])
    for (const caller of ['a', 'b', 'a']) await infer({ version: '2', caller })
    expect(predictions().map(({ trial }) => trial)).toEqual([null, null, null])
    expect(rows()).toMatchObject([
      {
        version: '2',
        trial: null,
        requests: 3,
        fineLatency: {},
        pinned: [
          { caller: 'a', requests: 2 },
          { caller: 'b', requests: 1 },
        ],
      },
    ])
  })

  it('is no failure where another replica of the same version answers', async () => {
    const two = deploymentOf({
      deploymentId: 'deployment-2',
      replicas: [
        { replicaId: 'a', socketPath: '/a' },
        { replicaId: 'b', socketPath: '/b' },
      ],
    })
    const { infer, draws, replicas, predictions, rows } = inferenceLab([trialRoute({ deployments: [champion, two] })])
    replicas.script('/a', 'died')
    replicas.ready('/a', false)
    draws.push(CHALLENGER)
    expect((await infer())?.status).toBe(200)
    expect(predictions()).toMatchObject([{ version: '2', trial: 'trial-7' }])
    expect(counts(rows())).toEqual([{ version: '2', trial: 'trial-7', requests: 1, failed: 0, rescued: 0 }])
  })

  it('is a failure of the version that was drawn, though the other one answered in the end', async () => {
    const { infer, draws, replicas, predictions, rows } = inferenceLab([trialRoute()])
    replicas.script('/deployment-2.sock', 'died')
    replicas.ready('/deployment-2.sock', false)
    draws.push(CHALLENGER)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(1_000)
    expect((await answer)?.status).toBe(200)
    expect(header(await answer, 'millrace-model-version')).toBe('1')
    expect(predictions()).toMatchObject([{ version: '1', trial: null }])
    const [row, ...others] = rows()
    expect(others).toEqual([])
    expect(row).toMatchObject({ version: '2', trial: 'trial-7', requests: 1, failed: 1, rescued: 1, fineLatency: {} })
    expect(row?.firstAnswerAtMs).toBeNull()
  })

  it('is a failure of the version that was drawn, where that has no replica to ask', async () => {
    const { infer, draws, replicas, predictions, rows } = inferenceLab([
      trialRoute({ deployments: [champion, { ...challenger, replicas: [] }] }),
    ])
    for (const draw of [CHALLENGER, CHAMPION, CHALLENGER]) {
      draws.push(draw)
      expect((await infer())?.status).toBe(200)
    }
    expect(replicas.asked).toHaveLength(3)
    expect(predictions().map(({ version, trial }) => [version, trial])).toEqual([
      ['1', null],
      ['1', 'trial-7'],
      ['1', null],
    ])
    expect(counts(rows())).toEqual([
      { version: '2', trial: 'trial-7', requests: 2, failed: 2, rescued: 2 },
      { version: '1', trial: 'trial-7', requests: 1, failed: 0, rescued: 0 },
    ])
  })

  it.each([
    ['says 500', answerOf(500, { error: 'no' }), 500],
    ['is silent until the deadline', 'silence' as const, 504],
  ])('is a failure where the version %s, which nobody rescues', async (_what, reply, status) => {
    const { infer, draws, replicas, rows } = inferenceLab([trialRoute()])
    replicas.script('/deployment-2.sock', reply)
    draws.push(CHALLENGER)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(5_000)
    expect((await answer)?.status).toBe(status)
    expect(counts(rows())).toEqual([{ version: '2', trial: 'trial-7', requests: 1, failed: 1, rescued: 0 }])
  })

  it('is a failure of the drawn version alone where both can not answer', async () => {
    const { infer, draws, replicas, rows } = inferenceLab([trialRoute()])
    for (const path of ['/deployment-1.sock', '/deployment-2.sock']) {
      replicas.script(path, 'refused')
      replicas.ready(path, false)
    }
    draws.push(CHALLENGER)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(4_500)
    expect((await answer)?.status).toBe(503)
    expect(counts(rows())).toEqual([{ version: '2', trial: 'trial-7', requests: 1, failed: 1, rescued: 0 }])
  })

  it('is no failure where its trial ends under it, and the routes send it elsewhere', async () => {
    const { infer, draws, replicas, predictions, rows, route } = inferenceLab([trialRoute()])
    replicas.script('/deployment-2.sock', 'refused')
    replicas.ready('/deployment-2.sock', false)
    draws.push(CHALLENGER)
    const answer = infer()
    await vi.advanceTimersByTimeAsync(10)
    route(routeOf({ deployments: [champion] }))
    expect((await answer)?.status).toBe(200)
    expect(predictions()).toMatchObject([{ version: '1', trial: null }])
    expect(counts(rows())).toEqual([{ version: '1', trial: null, requests: 1, failed: 0, rescued: 0 }])
  })

  it('that the log can not keep says nothing about the version', async () => {
    const { infer, draws, log, rows } = inferenceLab([trialRoute({ logMode: 'durable' })])
    log.failure = new Error('the disk is full')
    draws.push(CHALLENGER)
    expect((await infer())?.status).toBe(503)
    expect(counts(rows())).toEqual([{ version: '2', trial: null, requests: 1, failed: 1, rescued: 0 }])
  })

  it('that the gateway gives up at its own end says nothing about the version', async () => {
    const { infer, replicas, rows } = inferenceLab([trialRoute()])
    replicas.script('/deployment-1.sock', 'silence')
    const cancellation = new Cancellation()
    const answer = infer({ cancellation })
    cancellation.cancel('shutdown')
    expect((await answer)?.status).toBe(503)
    expect(counts(rows())).toMatchObject([{ trial: null, failed: 1 }])
  })

  it('whose client leaves is interrupted, within the trial', async () => {
    const { infer, replicas, rows } = inferenceLab([trialRoute()])
    replicas.script('/deployment-1.sock', 'silence')
    const cancellation = new Cancellation()
    const answer = infer({ cancellation })
    cancellation.cancel('client-gone')
    expect(await answer).toBeNull()
    expect(rows()).toMatchObject([{ version: '1', trial: 'trial-7', requests: 1, interrupted: 1, failed: 0 }])
  })

  it('gives its latency by fine buckets', async () => {
    const { infer, replicas, clock, rows } = inferenceLab([trialRoute()])
    replicas.script('/deployment-1.sock', answerOf(200))
    const answer = infer()
    clock.advance(12)
    await answer
    expect(rows()[0]?.fineLatency).toEqual({ [fineLatencyBucket(12)]: 1 })
  })
})

/** What may happen to a request of the property below. */
interface Event {
  draw: number
  champion: Reply
  challenger: Reply
  version: '1' | '2' | null
  leaves: boolean
}

type Reply = 'ok' | 'died' | 'refused' | 'busy' | 'garbled' | 'silence' | 'says 400' | 'says 500' | 'says 503'

const anyReply = fc.constantFrom<Reply>(
  ...(['ok', 'ok', 'died', 'refused', 'busy', 'garbled', 'silence', 'says 400', 'says 500', 'says 503'] as const),
)

const anyEvent: fc.Arbitrary<Event> = fc.record({
  draw: fc.constantFrom(CHAMPION, CHALLENGER),
  champion: anyReply,
  challenger: anyReply,
  version: fc.constantFrom(null, null, null, '1', '2'),
  leaves: fc.nat({ max: 9 }).map((n) => n === 0),
})

const anyRoute: fc.Arbitrary<EndpointRoute> = fc
  .record({
    trial: fc.constantFrom('trial-7', null),
    fallback: fc.constantFrom<EndpointRoute['fallback'][]>(
      { kind: 'error' },
      { kind: 'constant', outputs: { probability: 0.5 } },
      { kind: 'version', deploymentId: 'deployment-3' },
    ),
    disabled: fc.constantFrom(null, null, null, { why: 'a test' }),
    logSamplePercent: fc.constantFrom(100, 0),
    empty: fc.nat({ max: 7 }).map((n) => n === 0),
  })
  .map(({ empty, ...facts }) =>
    trialRoute({
      deployments: [champion, challenger, deploymentOf({ deploymentId: 'deployment-3' })],
      ...facts,
      ...(empty ? { members: [] } : {}),
    }),
  )

function replyOf(reply: Reply): Parameters<ReturnType<typeof inferenceLab>['replicas']['script']>[1] {
  if (reply === 'ok') return answerOf(200)
  if (reply.startsWith('says ')) return answerOf(Number(reply.slice(5)), { error: 'no' })
  return reply as 'died'
}

/** What the clients of a property's run saw. */
interface Seen {
  requests: number
  pinned: number
  failed: number
  left: number
  marked: number
}

const sum = (rows: TrafficReport[], field: 'requests' | 'failed' | 'interrupted' | 'rescued'): number =>
  rows.reduce((total, row) => total + (row[field] ?? 0), 0)
const total = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0)

/** Pairs of figures that must be equal, by what they are. */
function balance(route: EndpointRoute, seen: Seen, rows: TrafficReport[]): Record<string, [number, number]> {
  const live = rows.filter((row) => row.origin === 'live')
  const fallback = rows.filter((row) => row.origin === 'fallback')
  const isLive = route.disabled === null
  const counted = isLive ? live : fallback
  const answered = sum(fallback, 'requests') - sum(fallback, 'failed') - sum(fallback, 'interrupted')
  return {
    'each request once': [sum(counted, 'requests'), seen.requests],
    'failed for its client': [
      sum(counted, 'failed') - sum(counted, 'rescued') + sum(counted, 'interrupted'),
      seen.failed + seen.left,
    ],
    'marked as a fallback': [route.fallback.kind === 'error' ? 0 : answered, seen.marked],
    'by name': [total(rows.flatMap((row) => row.pinned.map((pin) => pin.requests))), seen.pinned],
  }
}

/** The same within each row. */
function balanceOf(row: TrafficReport): Record<string, [number, number]> {
  const answered = row.requests - row.interrupted
  const compared = row.trial === null ? 0 : answered - (row.rescued ?? 0)
  return {
    latencies: [total(row.latencyCounts), answered],
    'fine latencies': [total(Object.values(row.fineLatency)), compared],
    'no more failed than answered': [Math.max(row.failed, answered), answered],
    'no more rescued than failed': [Math.max(row.rescued ?? 0, row.failed), row.failed],
    'nobody names a version in a trial': [row.trial === null ? 0 : row.pinned.length, 0],
    'only live requests are in a trial': [row.trial === null || row.origin === 'live' ? 0 : 1, 0],
  }
}

function unbalanced(figures: Record<string, [number, number]>): string[] {
  return Object.entries(figures).flatMap(([name, [a, b]]) => (a === b ? [] : [`${name}: ${a}, ${b}`]))
}

/** Runs the events one after the other. */
async function run(lab: ReturnType<typeof inferenceLab>, events: Event[]): Promise<Seen> {
  const seen: Seen = { requests: events.length, pinned: 0, failed: 0, left: 0, marked: 0 }
  for (const event of events) {
    const replies = { '/deployment-1.sock': event.champion, '/deployment-2.sock': event.challenger }
    for (const [path, reply] of Object.entries(replies)) {
      lab.replicas.script(path, replyOf(reply))
      lab.replicas.ready(path, reply === 'ok')
    }
    lab.draws.splice(0, Infinity, event.draw)
    const cancellation = new Cancellation()
    const answering = lab.infer({ version: event.version, cancellation })
    if (event.leaves) cancellation.cancel('client-gone')
    await vi.advanceTimersByTimeAsync(6_000)
    const answer = await answering
    if (event.version !== null) seen.pinned += 1
    if (answer === null) seen.left += 1
    else if (answer.status >= 500) seen.failed += 1
    if (header(answer, 'millrace-fallback') !== undefined) seen.marked += 1
  }
  return seen
}

describe('the counts', () => {
  it('add up, whatever happens to requests: each is counted once, and what clients saw can be told from them', async () => {
    await fc.assert(
      fc.asyncProperty(anyRoute, fc.array(anyEvent, { minLength: 1, maxLength: 12 }), async (route, events) => {
        const lab = inferenceLab([route])
        const seen = await run(lab, events)
        const rows = lab.rows()
        expect(unbalanced(balance(route, seen, rows))).toEqual([])
        expect(rows.flatMap((row) => unbalanced(balanceOf(row)))).toEqual([])
        // What is logged with the trial is no more than what its version answered within it.
        const logged = lab.predictions().filter((record) => record.trial !== null)
        const compared = rows.filter((row) => row.trial !== null)
        for (const version of ['1', '2']) {
          const own = compared.filter((row) => row.version === version)
          expect(logged.filter((record) => record.version === version).length).toBeLessThanOrEqual(
            sum(own, 'requests') - sum(own, 'failed'),
          )
        }
      }),
      { numRuns: 100, seed: 20 },
    )
  }, 60_000)
})
