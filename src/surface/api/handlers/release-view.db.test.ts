import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Store } from '../../../kernel/store/store.ts'
import { releaseOf } from '../../../testing/control-builders.ts'
import { testStore } from '../../../testing/test-store.ts'
import { isRouted } from './release-view.ts'
import type { Services } from './services.ts'

let store: Store
beforeAll(async () => {
  store = await testStore()
})
afterAll(() => store.close())

/** @param taken - of each gateway, whether it routes by the newest members */
function services(...taken: boolean[]): Services {
  return {
    context: { store },
    observations: { gateways: () => taken.map((isTaken) => ({ isTaken })) },
    publisher: { isTaken: (_endpoint: string, _members: unknown, by: { isTaken: boolean }) => by.isTaken },
  } as unknown as Services
}

it('routes requests once every gateway has taken what was released, and not before it was', async () => {
  const released = releaseOf({ status: 'released' })
  expect(await isRouted(services(true, true), released)).toBe(true)
  expect(await isRouted(services(true, false), released)).toBe(false)
  expect(await isRouted(services(true), releaseOf({ status: 'switching' }))).toBe(false)
  // Nobody is kept waiting for gateways that are not there.
  expect(await isRouted(services(), released)).toBe(true)
})
