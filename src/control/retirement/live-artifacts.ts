import { sql, type Kysely, type Transaction } from 'kysely'
import { isDigest, type Artifacts } from '../../kernel/artifacts/artifacts.ts'
import { ArtifactNotFoundError } from '../../kernel/artifacts/errors.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { keptRuns, type RunRetention } from './run-retention.ts'

type Db = Kysely<Database> | Transaction<Database>

/** What an artifact is for, as people are told. */
export type ArtifactUse = 'model' | 'evaluation' | 'code' | 'output' | 'input'

interface Root {
  digest: string
  use: ArtifactUse
}

/**
 * Columns of the store that name artifacts. Whoever adds one adds it to `roots`: what no row there names is removed in the
 * end.
 */
export const ROOT_COLUMNS = [
  'version.model_digest',
  'version.golden_digest',
  'version.profile_digest',
  'evaluation.losses_digest',
  'evaluation.holdout_digest',
  'run.code_digest',
  'step.output_digest',
  'step.model_digest',
] as const

/**
 * What rows name, in one statement and therefore as of one moment: all that versions are made of until their files are
 * being deleted, with their code, evaluations and the outputs and inputs of their runs; and what runs without a version
 * left, under way or kept by their retention.
 */
async function roots(db: Db, retention: RunRetention, calendarMs: number): Promise<Root[]> {
  const { rows } = await sql<Root>`
    with there as (
      select version.* from version left join retirement on retirement.version_id = version.id
      where retirement.status is null or retirement.status not in ('deleting', 'deleted')),
    runs as (
      select run_id as id from there where run_id is not null
      union
      select id from (${keptRuns(retention, calendarMs)}) kept
      where not exists (select from version where version.run_id = kept.id))
    select distinct on (digest) digest, use from (
      select model_digest as digest, 'model' as use, 1 as place from there
      union all select golden_digest, 'evaluation', 2 from there
      union all select profile_digest, 'evaluation', 2 from there
      union all select losses_digest, 'evaluation', 2 from evaluation where version_id in (select id from there)
      union all select holdout_digest, 'evaluation', 2 from evaluation where version_id in (select id from there)
      union all select lineage ->> 'codeDigest', 'code', 3 from there
      union all select code_digest, 'code', 3 from run where id in (select id from runs)
      union all select model_digest, 'model', 1 from step where run_id in (select id from runs)
      union all select output_digest, 'output', 4 from step where run_id in (select id from runs)
      union all select input ->> 'digest', 'input', 5 from there,
        jsonb_array_elements(case jsonb_typeof(lineage -> 'inputs') when 'array' then lineage -> 'inputs' else '[]' end) input
      union all select input ->> 'digest', 'input', 5 from attempt,
        jsonb_array_elements(case jsonb_typeof(inputs) when 'array' then inputs else '[]' end) input
        where run_id in (select id from runs)) named
    where digest is not null order by digest, place`.execute(db)
  return rows
}

/**
 * Every artifact that something is made of, with its use: what rows name, and the files of directories among it. Anything
 * else may be removed, once it was not put for so long that its digest would be recorded by now.
 * @param checked - files that were found to be no manifests: remembered, as a digest never means something else
 * @throws ArtifactCorruptError, ArtifactTreeError where a manifest can't be read: nobody knows what it names, so nothing may
 *   be removed
 */
export async function* liveArtifacts(
  { db, artifacts }: { db: Db; artifacts: Artifacts },
  retention: RunRetention,
  calendarMs: number,
  checked: Set<string> = new Set(),
): AsyncGenerator<undefined, Map<string, ArtifactUse>> {
  const live = new Map<string, ArtifactUse>()
  for (const { digest, use } of await roots(db, retention, calendarMs)) {
    if (!live.has(digest)) live.set(digest, use)
    // Inputs are files, outputs of steps that are here already, or digests over files of the project.
    if (use === 'input' || use === 'evaluation') continue
    for (const file of await filesOf(artifacts, digest, checked)) if (!live.has(file)) live.set(file, use)
    yield
  }
  return live
}

/** Of 200,000 entries, as many as a directory may have, with paths of a thousand letters. */
const MANIFEST_BYTES_MAX = 256 * 1024 * 1024

/** Of a directory; of a file, or of what is not there, none. */
async function filesOf(artifacts: Artifacts, digest: string, checked: Set<string>): Promise<string[]> {
  try {
    if (checked.has(digest) || !isDigest(digest)) return []
    if (!(await artifacts.isTree(digest))) {
      // A manifest whose first bytes are damaged looks like a file.
      if ((await artifacts.sizeOf(digest)) <= MANIFEST_BYTES_MAX) await artifacts.verifiedPath(digest)
      checked.add(digest)
      return []
    }
    const { entries } = await artifacts.readTree(digest)
    return entries.flatMap((entry) => (entry.type === 'file' ? [entry.digest] : []))
  } catch (error) {
    if (error instanceof ArtifactNotFoundError) return []
    throw error
  }
}
