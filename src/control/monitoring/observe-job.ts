import { readFile } from 'node:fs/promises'
import { openDuckDB } from '../../kernel/lake/duckdb.ts'
import { readManifest } from '../../kernel/lake/manifest.ts'
import type { BaselineProfile } from '../evaluation/baseline-profile.ts'
import { countNewRows, type ProfiledVersion } from './count-rows.ts'
import { measureQuality } from './measure-quality.ts'
import type { Observation, ObservedVersion, ObserveInput } from './observation.ts'

const DEFAULTS = { memoryLimitMb: 512, threads: 2 }

/**
 * Reads the lake once, at its newest manifest: counts what came after the last one that was counted, and measures
 * quality where asked. It writes nothing: whoever asked keeps the counts and the manifest's number in one transaction,
 * so that each row is counted once however often this is run or killed.
 */
export async function runObserveJob(input: ObserveInput): Promise<Observation> {
  const manifest = await readManifest(input.lakeDir)
  const versions = await Promise.all(input.versions.map(withProfile))
  const database = await openDuckDB({ ...DEFAULTS, ...input })
  try {
    const { connection } = database
    const buckets = await countNewRows(connection, input.lakeDir, manifest, input.afterManifest, versions)
    const quality = []
    for (const question of input.quality)
      quality.push(...(await measureQuality(connection, input.lakeDir, manifest, question)))
    const rows = buckets.reduce((sum, bucket) => sum + bucket.rows, 0)
    return { manifest: manifest.number, rows, buckets, quality }
  } finally {
    await database.close()
  }
}

async function withProfile(version: ObservedVersion): Promise<ProfiledVersion> {
  if (version.profilePath === null) return { ...version, profile: null }
  return { ...version, profile: JSON.parse(await readFile(version.profilePath, 'utf8')) as BaselineProfile }
}
