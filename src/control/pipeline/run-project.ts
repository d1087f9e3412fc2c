import { completeProject } from '../../config/older-project.ts'
import type { Project } from '../../config/project.ts'
import type { DeclaredTable } from '../../kernel/features/feature-source.ts'
import type { ControlContext } from '../control-context.ts'
import { prepareOf, serverOf, type VersionPrepare, type VersionServer } from '../registry/version-server.ts'
import type { Run } from './run.ts'

/** As it was declared when the run was asked for, whatever has been applied since. */
export async function projectOf(context: ControlContext, run: Run): Promise<Project> {
  const applied = context.project()
  if (applied?.revisionId === run.revisionId) return applied.project
  const { project: stored } = await context.store.db
    .selectFrom('revision')
    .select('project')
    .where('id', '=', run.revisionId)
    .executeTakeFirstOrThrow()
  return completeProject(stored as Project)
}

/** Null where Millrace serves it itself, and where it is fed what callers send. */
export interface ServedBy {
  server: VersionServer | null
  prepare: VersionPrepare | null
  tables: DeclaredTable[]
}

/** What is to serve that which the run makes. */
export async function servedBy(context: ControlContext, run: Run): Promise<ServedBy> {
  const project = await projectOf(context, run)
  const model = project.models.find(({ name }) => name === run.model)
  if (model === undefined) return { server: null, prepare: null, tables: [] }
  return { server: serverOf(project, model), prepare: prepareOf(project, model), tables: model.serving.enrich }
}
