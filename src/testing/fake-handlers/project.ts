import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { Revision } from '../../surface/api/project-schemas.ts'
import { T0, type FakeWorld } from './world.ts'

export const fakeProjectHandlers = (world: FakeWorld): HandlerGroup<'project'> => ({
  get: () => ({
    revision: fakeRevision,
    source: 'project: flights\n',
    project: {
      name: 'flights',
      root: '/p',
      snapshotIgnore: [],
      gateway: {
        host: '127.0.0.1',
        port: 7080,
        anonymous: false,
        tls: null,
        grpcPort: null,
        processes: 1,
        accessLogPercent: 0,
        limits: { connections: 8_192, requests: 4_096, headBytes: 16_384, pipelined: 16 },
      },
      storage: { minFreeBytes: 0 },
      alerts: { webhooks: [] },
      models: [],
      endpoints: [],
    },
  }),
  apply: (input) => {
    world.did('project.apply', input)
    return { ...fakeRevision, by: input.by, changes: [`model ${input.project.models[0]?.name}: added`] }
  },
  revisions: () => [fakeRevision],
})

const fakeRevision: Revision = {
  revision: 1,
  project: 'flights',
  digest: `sha256:${'a'.repeat(64)}`,
  sourcePath: '/p/millrace.yaml',
  by: 'ann',
  appliedAtMs: T0,
  models: ['late-flight'],
  changes: [],
}
