import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { EndpointRoute } from '../../kernel/contract/routing.ts'
import { deploymentOf, routeOf } from '../../testing/gateway-fakes.ts'
import { header, inferenceLab } from '../../testing/inference-lab.ts'

const [one, two, three] = ['1', '2', '3'].map((id) => deploymentOf({ deploymentId: `deployment-${id}` }))
const versionOf = (answer: Parameters<typeof header>[0]) => header(answer, 'millrace-model-version')
const bodyWith = (parameters: object) => Buffer.from(JSON.stringify({ inputs: [], parameters }))

const routed = (overrides: Partial<EndpointRoute> = {}): EndpointRoute =>
  routeOf({
    deployments: [one!, two!, three!],
    members: [
      { deploymentId: 'deployment-1', weightPercent: 50 },
      { deploymentId: 'deployment-2', weightPercent: 50 },
    ],
    ...overrides,
  })

/** Until it has waited for replicas that don't come back. */
async function patiently<T>(asked: Promise<T>): Promise<T> {
  await vi.advanceTimersByTimeAsync(4_000)
  return asked
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('a sticky endpoint', () => {
  it('leads a caller to the same version by a header, and draws for one without it', async () => {
    const lab = inferenceLab([routed({ sticky: { header: 'x-user' } })])
    const first = versionOf(await lab.infer({ headers: { 'x-user': 'ann' } }))
    for (const draw of [0, 0.4, 0.9]) {
      lab.draws.push(draw)
      expect(versionOf(await lab.infer({ headers: { 'x-user': 'ann' } }))).toBe(first)
    }
    lab.draws.length = 0
    lab.draws.push(0.1)
    expect(versionOf(await lab.infer())).toBe('1')
    lab.draws.length = 0
    lab.draws.push(0.9)
    expect(versionOf(await lab.infer())).toBe('2')
  })

  it('leads by a parameter of the request, be it text or number', async () => {
    const lab = inferenceLab([routed({ sticky: { parameter: 'user' } })])
    const led = new Set<string | undefined>()
    for (let user = 0; user < 40; user++) {
      const text = versionOf(await lab.infer({ body: bodyWith({ user: String(user) }) }))
      expect(versionOf(await lab.infer({ body: bodyWith({ user }) }))).toBe(text)
      led.add(text)
    }
    expect(led).toEqual(new Set(['1', '2']))
  })

  it('draws where the request is no JSON, or says nothing', async () => {
    const lab = inferenceLab([routed({ sticky: { parameter: 'user' } })])
    for (const body of ['{"parameters":"user"', '[]', '{"parameters":{"user":null}}', '{"parameters":{"user":""}}']) {
      lab.draws.length = 0
      lab.draws.push(0.9)
      expect(versionOf(await lab.infer({ body: Buffer.from(body) }))).toBe('2')
    }
  })

  it('counts a trial by caller, also where the other version had to answer', async () => {
    const lab = inferenceLab([routed({ sticky: { header: 'x-user' }, trial: 'trial-1' })])
    const users = Array.from({ length: 20 }, (_, i) => `user-${i}`)
    const drawn = new Map<string, string | undefined>()
    for (const user of users) drawn.set(user, versionOf(await lab.infer({ headers: { 'x-user': user } })))
    lab.rows()
    lab.replicas.script('/deployment-2.sock', 'refused')
    lab.replicas.ready('/deployment-2.sock', false)
    for (const user of users) expect(versionOf(await patiently(lab.infer({ headers: { 'x-user': user } })))).toBe('1')
    const ofTwo = users.filter((user) => drawn.get(user) === '2').length
    expect(ofTwo).toBeGreaterThan(0)
    expect(lab.rows().find((row) => row.version === '2')).toMatchObject({
      trial: 'trial-1',
      requests: ofTwo,
      failed: ofTwo,
      rescued: ofTwo,
    })
  })
})

describe('a rule', () => {
  const rules = [
    { key: { header: 'x-group' }, equals: 'beta', deploymentId: 'deployment-3' },
    { key: { parameter: 'market' }, equals: 'se', deploymentId: 'deployment-2' },
  ]

  it('leads the requests that fit to its version, the first that fits, and no others', async () => {
    const lab = inferenceLab([routed({ rules })])
    expect(versionOf(await lab.infer({ headers: { 'x-group': 'beta' } }))).toBe('3')
    const both = { headers: { 'x-group': 'beta' }, body: bodyWith({ market: 'se' }) }
    expect(versionOf(await lab.infer(both))).toBe('3')
    expect(versionOf(await lab.infer({ body: bodyWith({ market: 'se' }) }))).toBe('2')
    expect(versionOf(await lab.infer({ headers: { 'x-group': 'Beta' } }))).toBe('1')
  })

  it('puts its requests in no trial', async () => {
    const lab = inferenceLab([routed({ rules, trial: 'trial-1' })])
    await lab.infer({ headers: { 'x-group': 'beta' } })
    expect(lab.rows()).toMatchObject([{ version: '3', trial: null, requests: 1 }])
    expect(lab.predictions()).toMatchObject([{ version: '3', trial: null }])
  })

  it('yields to the weights where its version has no replica, and that is in no trial either', async () => {
    const gone = deploymentOf({ deploymentId: 'deployment-3', replicas: [] })
    const lab = inferenceLab([routed({ rules, deployments: [one!, two!, gone], trial: 'trial-1' })])
    expect(versionOf(await lab.infer({ headers: { 'x-group': 'beta' } }))).toBe('1')
    expect(lab.rows()).toMatchObject([{ version: '1', trial: null }])
  })

  it('is left out where its version is not deployed', async () => {
    const lab = inferenceLab([routed({ rules, deployments: [one!, two!] })])
    expect(versionOf(await lab.infer({ headers: { 'x-group': 'beta' } }))).toBe('1')
  })

  it('is helped by the members where its version fails', async () => {
    const lab = inferenceLab([routed({ rules })])
    lab.replicas.script('/deployment-3.sock', 'refused')
    lab.replicas.ready('/deployment-3.sock', false)
    expect(versionOf(await patiently(lab.infer({ headers: { 'x-group': 'beta' } })))).toBe('1')
  })
})

describe('a pinned caller', () => {
  const pins = [{ caller: 'ann', deploymentId: 'deployment-3', expiresAtMs: Date.UTC(2001, 0, 1) + 10_000 }]
  const rules = [{ key: { header: 'x-group' }, equals: 'beta', deploymentId: 'deployment-2' }]

  it('gets its version before any rule, until the pin ends; others do not', async () => {
    const lab = inferenceLab([routed({ pins, rules })])
    lab.clock.advance(9_999)
    expect(versionOf(await lab.infer({ caller: 'ann', headers: { 'x-group': 'beta' } }))).toBe('3')
    expect(versionOf(await lab.infer({ caller: 'bob' }))).toBe('1')
    lab.clock.advance(1)
    expect(versionOf(await lab.infer({ caller: 'ann', headers: { 'x-group': 'beta' } }))).toBe('2')
  })

  it('gets the version that it names itself', async () => {
    const lab = inferenceLab([routed({ pins })])
    expect(versionOf(await lab.infer({ caller: 'ann', version: '2' }))).toBe('2')
  })

  it('takes part in no trial, and gets no other version when its own fails', async () => {
    const lab = inferenceLab([routed({ pins, trial: 'trial-1' })])
    lab.replicas.script('/deployment-3.sock', 'refused')
    expect((await patiently(lab.infer({ caller: 'ann' })))?.status).toBe(503)
    expect(lab.rows()).toMatchObject([{ version: '3', trial: null, failed: 1 }])
  })
})
