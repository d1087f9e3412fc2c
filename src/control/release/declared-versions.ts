import type { Kysely, Transaction } from 'kysely'
import type { Project } from '../../config/project.ts'
import type { Database } from '../../kernel/store/schema.ts'
import type { Fallback } from './fallback.ts'
import { isInGather } from './gather.ts'
import { gatherMembers, releasedVersions } from './gather-store.ts'

type Db = Kysely<Database> | Transaction<Database>

/**
 * Versions that are to be up because the configuration says so, on their own model's endpoint: those that rules name by
 * number, and those that gathers have or are to have.
 * @param project - null: nothing is applied
 */
export async function declaredVersions(db: Db, project: Project | null): Promise<Fallback[]> {
  if (project === null) return []
  const endpointOf = (model: string) => project.models.find((m) => m.name === model)?.endpoint ?? null
  const ruled = project.models.flatMap(({ name, endpoint, serving }) =>
    serving.rules.flatMap(({ version }): Fallback[] =>
      /^\d+$/.test(version) ? [{ endpoint, versionId: `${name}@${version}`, as: 'rule' }] : [],
    ),
  )
  if (project.endpoints.length === 0) return ruled
  const gathered: Fallback[] = []
  const add = (model: string, versionId: string, as: string) => {
    const endpoint = endpointOf(model)
    if (endpoint !== null) gathered.push({ endpoint, versionId, as })
  }
  for (const { endpoint, model, versionId, status } of await gatherMembers(db))
    if (isInGather({ status })) add(model, versionId, `gather ${endpoint}`)
  for (const { name, members } of project.endpoints)
    for (const { model, versions } of members)
      for (const { versionId } of await releasedVersions(db, model, versions)) add(model, versionId, `gather ${name}`)
  return [...ruled, ...gathered]
}
