import {
  applyProject,
  latestRevision,
  listRevisions,
  NothingAppliedError,
} from '../../../control/project/revision-store.ts'
import type { Revision as StoredRevision } from '../../../control/project/revision.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { Revision } from '../project-schemas.ts'
import type { Services } from './services.ts'

export const projectHandlers = (services: Services): HandlerGroup<'project'> => ({
  async get() {
    const latest = await latestRevision(services.context.store.db)
    if (latest === null) throw new NothingAppliedError()
    return { revision: revisionView(latest, []), project: latest.project, source: latest.source }
  },
  async apply({ source, sourcePath, project, by }) {
    const request = { project, source: source ?? '', sourcePath: sourcePath ?? '', by }
    const { revision, changes } = await applyProject(services.context.store, services.context.clock, request)
    await services.reload()
    return revisionView(revision, changes)
  },
  async revisions({ limit }) {
    return (await listRevisions(services.context.store.db, limit)).map((r) => revisionView(r, []))
  },
})

function revisionView(revision: StoredRevision, changes: string[]): Revision {
  return {
    revision: revision.revision,
    project: revision.project.name,
    digest: revision.digest,
    sourcePath: revision.sourcePath === '' ? null : revision.sourcePath,
    by: revision.by,
    appliedAtMs: revision.appliedAtMs,
    models: revision.project.models.map((m) => m.name),
    changes,
  }
}
