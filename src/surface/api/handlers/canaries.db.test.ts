import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../../kernel/store/store.ts'
import { releaseLab, type ReleaseLab } from '../../../testing/release-lab.ts'
import { testStore } from '../../../testing/test-store.ts'
import { canarySchema } from '../canary-schemas.ts'
import type { Call } from '../handlers.ts'
import { canaryHandlers } from './canaries.ts'
import type { Services } from './services.ts'

const call: Call = { signal: new AbortController().signal, via: 'socket' }
const asked = { endpoint: 'm', why: 'enough seen', by: 'ann' }

describe('canaries by the API', () => {
  let store: Store
  let lab: ReleaseLab
  let handlers: ReturnType<typeof canaryHandlers>
  beforeAll(async () => {
    store = await testStore()
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    const release = {
      strategy: 'shadow' as const,
      shadow: { share: 50, soak: '1s', minRequests: 5 },
      canary: { weights: [10, 50], soak: '2s', minRequests: 5 },
    }
    lab = await releaseLab(store, { m: { train: 'true', release, serving: { replicas: 1 } } })
    lab.rate.perSecond = 50
    // What these handlers use of them.
    const { observations, publisher } = lab.plane()
    handlers = canaryHandlers({ context: lab.lab.context, observations, publisher } as Services)
    await lab.approved()
    await lab.until('m@1 is live', async () => (await lab.champion()) === 'm@1')
  })

  async function inCanary(): Promise<void> {
    await lab.approved()
    await lab.until('canary', async () => (await lab.status('release-2')) === 'canary')
    await lab.pass()
  }

  it('are none before the first, and unknown endpoints are told apart from that', async () => {
    expect(await handlers.list(undefined, call)).toEqual([])
    const get = async (endpoint: string) => handlers.get({ endpoint }, call)
    await expect(get('m')).rejects.toMatchObject({ code: 'MR_NOTHING_TRIED' })
    await expect(get('none')).rejects.toMatchObject({ code: 'MR_ENDPOINT_UNKNOWN' })
    await expect((async () => handlers.stop(asked, call))()).rejects.toMatchObject({ code: 'MR_NO_CANARY' })
    await expect((async () => handlers.promote(asked, call))()).rejects.toMatchObject({ code: 'MR_NO_CANARY' })
  })

  it('show what was, what runs and what is to come, with the evidence', async () => {
    await inCanary()
    const [view] = await handlers.list(undefined, call)
    expect(canarySchema.parse(view)).toEqual(view)
    expect(view).toMatchObject({
      endpoint: 'm',
      release: 'release-2',
      status: 'canary',
      running: true,
      challenger: 'm@2',
      champion: 'm@1',
      look: { decision: 'wait', reason: 'soaking' },
    })
    expect(view!.steps.map((s) => [s.kind, s.step, s.weightPercent, s.state, s.trial])).toEqual([
      ['shadow', 0, 50, 'ended', 'trial-1'],
      ['canary', 1, 10, 'running', 'trial-2'],
      ['canary', 2, 50, 'waiting', null],
    ])
    expect(view!.steps[0]!.challenger.requests).toBeGreaterThanOrEqual(5)
    expect(view!.look!.tests).toHaveLength(5)
  })

  it('end by hand with a reason that is kept, and are shown afterwards as the last', async () => {
    await inCanary()
    expect(await handlers.stop(asked, call)).toMatchObject({
      status: 'cancelled',
      strategy: 'shadow',
      why: 'stopped by ann: enough seen',
    })
    expect(await handlers.list(undefined, call)).toEqual([])
    expect(await handlers.get({ endpoint: 'm' }, call)).toMatchObject({ running: false, status: 'cancelled' })
    expect(lab.lab.woken).toContain('route')
  })

  it('are promoted by hand, but not while none of its replicas is ready', async () => {
    await inCanary()
    lab.rate.perSecond = 0
    lab.down.add('m@2')
    await lab.pass(6)
    await expect((async () => handlers.promote(asked, call))()).rejects.toMatchObject({ code: 'MR_CANARY_NOT_READY' })
    lab.down.clear()
    await lab.pass(2)
    expect(await handlers.promote(asked, call)).toMatchObject({
      status: 'released',
      why: 'promoted by ann: enough seen',
    })
    expect(await lab.champion()).toBe('m@2')
  })
})
