import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { CanaryView } from '../../surface/api/canary-schemas.ts'
import { fakeRelease } from './releases.ts'
import { NotFoundError, T0, type FakeWorld } from './world.ts'

export const fakeCanaryHandlers = (world: FakeWorld): HandlerGroup<'canaries'> => ({
  list: () => [fakeCanary],
  get: ({ endpoint }) => {
    if (endpoint !== fakeCanary.endpoint) throw new NotFoundError(`endpoint ${endpoint}`)
    return fakeCanary
  },
  stop: (input) => {
    world.did('canaries.stop', input)
    return { ...fakeRelease, status: 'cancelled', why: `stopped by ${input.by}: ${input.why}` }
  },
  promote: (input) => {
    world.did('canaries.promote', input)
    return { ...fakeRelease, why: `promoted by ${input.by}: ${input.why}` }
  },
})

const fakeCanary: CanaryView = {
  endpoint: 'late-flight',
  model: 'late-flight',
  release: 'release-2',
  status: 'canary',
  why: 'canary at 10% begins: 2 of 2 replicas are ready',
  running: true,
  challenger: 'late-flight@3',
  champion: 'late-flight@2',
  steps: [10, 50].map((weightPercent, i) => ({
    trial: i === 0 ? 'trial-1' : null,
    kind: 'canary',
    step: i + 1,
    weightPercent,
    state: i === 0 ? 'running' : 'waiting',
    why: null,
    soakMs: 600_000,
    minRequests: 100,
    minLabels: 0,
    elapsedMs: i === 0 ? 90_000 : 0,
    startedAtMs: i === 0 ? T0 : null,
    endedAtMs: null,
    challenger: { requests: i === 0 ? 42 : 0, failed: 0 },
    champion: { requests: i === 0 ? 380 : 0, failed: i === 0 ? 1 : 0 },
  })),
  maxTimeMs: 86_400_000,
  look: {
    decision: 'wait',
    reason: 'soaking',
    why: 'soaking: 90 s of 10 min, 42 requests',
    missing: ['soaking: 90 s of 10 min, 42 requests'],
    tests: [
      {
        test: 'errors',
        verdict: 'open',
        why: '0 of 42 failed (0%), of the champion 1 of 380 (0.263%); e = 0.9, harm from 400, proven by 4 more in a row',
        challenger: 0,
        champion: 0.00263,
        value: 0,
        low: 0,
        high: null,
        eValue: 0.9,
        limit: 1,
        alpha: 0.0025,
        challengerN: 42,
        championN: 380,
      },
    ],
    requests: 42,
    labels: 0,
    elapsedMs: 90_000,
    measuredAtMs: T0,
    atMs: T0,
  },
  looks: [],
}
