import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { ArtifactsView, RetirementRow } from '../../surface/api/retirement-schemas.ts'
import { ConflictError, T0, type FakeWorld } from './world.ts'

export const fakeRetirementHandlers = (world: FakeWorld): HandlerGroup<'retirement'> => ({
  list: () => [fakeRetirement, { ...fakeRetirement, version: 'late-flight@2', status: 'kept', policy: null }],
  retire: (input) => {
    world.did('retirement.retire', input)
    if (input.ref === 'late-flight@2') throw new ConflictError('late-flight@2 is in use (alias champion).')
    return { ...fakeRetirement, policy: 'person', why: input.why }
  },
  revive: (input) => (world.did('retirement.revive', input), { ...fakeRetirement, status: 'kept' as const }),
  keep: (input) => {
    world.did('retirement.keep', input)
    return { ...fakeRetirement, status: 'kept' as const, keptUntilMs: input.untilMs }
  },
  files: () => fakeFiles,
})

const fakeFiles: ArtifactsView = {
  kept: [
    { use: 'model', files: 12, sizeBytes: 48_000_000 },
    { use: 'code', files: 80, sizeBytes: 900_000 },
  ],
  unused: { files: 2, sizeBytes: 7_000_000 },
  largest: [
    { digest: `sha256:${'a'.repeat(64)}`, sizeBytes: 6_000_000, removableInMs: 3_600_000 },
    { digest: `sha256:${'b'.repeat(64)}`, sizeBytes: 1_000_000, removableInMs: 0 },
  ],
  removed: { files: 3, sizeBytes: 9_000_000 },
  lastPassAgoMs: 60_000,
  refused: null,
}

const fakeRetirement: RetirementRow = {
  version: 'late-flight@1',
  model: 'late-flight',
  status: 'proposed',
  policy: 'superseded',
  why: 'late-flight@2 serves instead',
  heldBy: ['alias previous (what a rollback goes to)'],
  next: null,
  outlook: 'in use: alias previous (what a rollback goes to)',
  by: 'millrace',
  statusAtMs: T0,
  keptUntilMs: null,
}
