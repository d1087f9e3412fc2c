import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { ModelSummary } from '../../surface/api/model-schemas.ts'
import { fakeVersion } from './versions.ts'
import { requireModel, T0 } from './world.ts'

export const fakeModelHandlers = (): HandlerGroup<'models'> => ({
  list: () => [fakeModel()],
  get: ({ model }) => {
    requireModel(model)
    return {
      ...fakeModel(),
      aliases: [{ alias: 'champion', version: 'late-flight@2', sinceMs: T0 }],
      recent: [fakeVersion(2), fakeVersion(1)],
    }
  },
})

function fakeModel(): ModelSummary {
  return {
    name: 'late-flight',
    endpoint: 'late-flight',
    importance: 'normal',
    task: 'binary',
    paused: false,
    champion: 'late-flight@2',
    versions: 2,
    newest: fakeVersion(2),
    blockers: [{ what: 'label', why: 'no label is declared', fix: "Add label: 'late' to the model." }],
  }
}
