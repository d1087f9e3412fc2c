import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { ReleaseView } from '../../surface/api/release-schemas.ts'
import { ConflictError, NotFoundError, T0, type FakeWorld } from './world.ts'

export const fakeReleaseHandlers = (world: FakeWorld): HandlerGroup<'releases'> => ({
  list: () => [fakeRelease],
  get: ({ id }) => {
    if (id !== fakeRelease.id) throw new NotFoundError(`release ${id}`)
    return fakeRelease
  },
  create: (input) => {
    world.did('releases.create', input)
    if (input.ref === 'late-flight@2') throw new ConflictError('late-flight@2 is live already.')
    return fakeRelease
  },
  rollback: (input) => {
    world.did('releases.rollback', input)
    return { ...fakeRelease, kind: 'rollback' }
  },
})

export const fakeRelease: ReleaseView = {
  id: 'release-1',
  kind: 'release',
  version: 'late-flight@2',
  endpoint: 'late-flight',
  previous: 'late-flight@1',
  status: 'released',
  routed: true,
  why: null,
  cause: 'gate passed',
  strategy: 'immediate',
  createdAtMs: T0,
  endedAtMs: T0 + 900,
  firstAnswerAtMs: T0 + 950,
  leadTimeMs: 2_950,
  steps: [{ name: 'preflight', status: 'done', why: '50 golden rows equal', startedAtMs: T0, endedAtMs: T0 + 500 }],
}
