import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Store } from '../../../kernel/store/store.ts'
import { controlLab, type ControlLab } from '../../../testing/control-lab.ts'
import { fakeClock, type FakeClock } from '../../../testing/fake-clock.ts'
import { decidedVersion, promote } from '../../../testing/flip-lab.ts'
import { testStore } from '../../../testing/test-store.ts'
import { callerInput, callerSchema, callerWithKeySchema, pinSchema } from '../caller-schemas.ts'
import type { Call } from '../handlers.ts'
import { callerHandlers } from './callers.ts'
import type { Services } from './services.ts'

const DAY_MS = 86_400_000
const call: Call = { signal: new AbortController().signal, via: 'socket' }
const by = 'ann'

let store: Store
let lab: ControlLab
let clock: FakeClock
let handlers: ReturnType<typeof callerHandlers>
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())
beforeEach(async () => {
  clock = fakeClock()
  lab = await controlLab(store, clock)
  await lab.apply(
    { m: { train: 'true' }, other: { train: 'true', endpoint: 'elsewhere' } },
    { endpoints: { both: { gather: { members: ['m', 'other'] } } } },
  )
  handlers = callerHandlers({ context: lab.context } as Services)
})
afterEach(() => lab.close())

const add = async (name: string, rest: object = {}) =>
  handlers.add({ ...callerInput.add.parse({ name, ...rest }), by }, call)
const pin = async (ref: string, endpoint = 'm', caller = 'site') =>
  handlers.pin({ caller, endpoint, ref, forMs: 30 * DAY_MS, why: null, by }, call)

it('makes a caller known with a key that is in this answer alone, and tells the gateways', async () => {
  const made = callerWithKeySchema.parse(await add('site', { endpoints: ['m', 'both'], concurrency: 5 }))
  expect(made).toMatchObject({ name: 'site', endpoints: ['m', 'both'], concurrency: 5, othersEndAtMs: null })
  expect(made.key).toMatch(/^millrace_/)
  expect(lab.woken).toContain('route')
  const listed = callerSchema.array().parse(await handlers.list({ revoked: false }, call))
  expect(listed).toMatchObject([{ name: 'site', keys: [{ hint: made.key!.slice(0, 13) + '…' }], lastUsedMs: null }])
  expect(JSON.stringify(listed)).not.toContain(made.key!.slice(14))
})

it('can do without a key where a certificate stands for it', async () => {
  expect(await add('site', { key: false, commonNames: ['site.example'] })).toMatchObject({ key: null, keys: [] })
})

it('refuses an endpoint that there is not', async () => {
  await expect(add('site', { endpoints: ['m', 'nowhere'] })).rejects.toMatchObject({
    code: 'MR_ENDPOINT_UNKNOWN',
    message: expect.stringContaining('m, elsewhere, both'),
  })
})

it('rotates and revokes, and shows the revoked ones when asked', async () => {
  const { key } = await add('site')
  const rotated = await handlers.rotate({ name: 'site', keepMs: DAY_MS, by }, call)
  expect(rotated.key).not.toBe(key)
  expect(rotated).toMatchObject({ othersEndAtMs: clock.epochMs() + DAY_MS })
  expect(rotated.keys).toHaveLength(2)
  const revoked = await handlers.revoke({ name: 'site', why: 'it leaked', by }, call)
  expect(revoked).toMatchObject({ keys: [], revoked: { by: 'ann', why: 'it leaked' } })
  expect(await handlers.list({ revoked: false }, call)).toEqual([])
  expect(await handlers.list({ revoked: true }, call)).toHaveLength(1)
})

it('pins a caller to a version that has served, by number or alias', async () => {
  await add('site')
  const first = await decidedVersion(lab, 'm')
  await expect(pin(first)).rejects.toMatchObject({ code: 'MR_PIN_UNPROVEN' })
  await promote(lab, 'm', first)
  const view = pinSchema.parse(await pin('m@champion'))
  expect(view).toMatchObject({ caller: 'site', endpoint: 'm', version: 'm@1', endsSoon: false })
  expect(view.expiresAtMs).toBe(clock.epochMs() + 30 * DAY_MS)
  clock.advance(24 * DAY_MS)
  expect(await handlers.list({ revoked: false }, call)).toMatchObject([{ pins: [{ version: 'm@1', endsSoon: true }] }])
  expect(await handlers.unpin({ caller: 'site', endpoint: 'm', by }, call)).toMatchObject({ pins: [] })
})

it('refuses to pin to a version of another model, on an endpoint that there is not, and nobody', async () => {
  await add('site')
  await promote(lab, 'm', await decidedVersion(lab, 'm'))
  await expect(pin('m@1', 'elsewhere')).rejects.toMatchObject({ code: 'MR_OTHER_MODEL' })
  await expect(pin('m@1', 'nowhere')).rejects.toMatchObject({ code: 'MR_ENDPOINT_UNKNOWN' })
  await expect(pin('m@1', 'both')).rejects.toMatchObject({
    code: 'MR_ENDPOINT_UNKNOWN',
    message: expect.stringMatching(
      /^Endpoint 'both' asks several versions at once, and is no model's own; there are: m/,
    ),
  })
  await expect(pin('m@1', 'm', 'nobody')).rejects.toMatchObject({ code: 'MR_CALLER_UNKNOWN' })
})
