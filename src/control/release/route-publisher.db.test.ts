import { expect, it } from 'vitest'
import type { EndpointRoute } from '../../kernel/contract/routing.ts'
import { testStore } from '../../testing/test-store.ts'
import { RoutePublisher } from './route-publisher.ts'

function endpoint(name: string, live: string | null, logSamplePercent = 100): EndpointRoute {
  const members = live === null ? [] : [{ deploymentId: live, weightPercent: 100 }]
  const limits = { bodyLimitBytes: 1_000, timeoutMs: 1_000 }
  return {
    endpoint: name,
    model: name,
    logMode: 'relaxed',
    logSamplePercent,
    ...limits,
    members,
    deployments: [],
    trial: null,
    mirrors: [],
    disabled: null,
    fallback: { kind: 'error' },
  }
}

it('knows whether a gateway routes by the newest live members, whatever else has changed since', async () => {
  const store = await testStore()
  try {
    const publisher = await RoutePublisher.open(store)
    const [one, two] = ['one', 'two'].map((id) => [{ deploymentId: id, weightPercent: 100 }]) as [
      EndpointRoute['members'],
      EndpointRoute['members'],
    ]
    // Right after the start of a control plane: gateways serve by what they have.
    expect(publisher.isTaken('coin', one, { epoch: 0, revision: 9 })).toBe(true)

    publisher.publish('p', [endpoint('coin', null)], 0)
    const { epoch, revision: flipped } = publisher.publish('p', [endpoint('coin', 'one')], 0)
    expect(publisher.isTaken('coin', one, { epoch, revision: flipped - 1 })).toBe(false)
    expect(publisher.isTaken('coin', one, { epoch: epoch - 1, revision: 9 })).toBe(false)
    expect(publisher.isTaken('coin', one, { epoch, revision: flipped })).toBe(true)

    publisher.publish('p', [endpoint('coin', 'one', 50), endpoint('other', null)], 0)
    expect(publisher.isTaken('coin', one, { epoch, revision: flipped })).toBe(true)
    // Recorded as released, and not published yet.
    expect(publisher.isTaken('coin', two, { epoch, revision: flipped + 1 })).toBe(false)
  } finally {
    await store.close()
  }
})

it('hands out new routes when the callers change, or whether others may come without a key', async () => {
  const store = await testStore()
  try {
    const publisher = await RoutePublisher.open(store)
    const caller = { name: 'site', keyDigests: ['aa'], commonNames: [], endpoints: null, concurrency: null }
    const publish = (keys: string[], anonymous: boolean) =>
      publisher.publish('p', [endpoint('coin', 'one')], 0, { callers: [{ ...caller, keyDigests: keys }], anonymous })
    expect(publish(['aa'], false).revision).toBe(1)
    expect(publish(['aa'], false).revision).toBe(1)
    expect(publish(['aa', 'bb'], false)).toMatchObject({ revision: 2, callers: [{ keyDigests: ['aa', 'bb'] }] })
    expect(publish(['aa', 'bb'], true)).toMatchObject({ revision: 3, anonymous: true })
  } finally {
    await store.close()
  }
})
