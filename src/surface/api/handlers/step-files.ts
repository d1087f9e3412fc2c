import type { MetricTree } from '../../../control/pipeline/step-output.ts'
import { stepsOf } from '../../../control/pipeline/run-store.ts'
import type { VersionView } from '../version-schemas.ts'
import type { Services } from './services.ts'

/** Of all steps together; a step may leave as many as it likes. */
const FILES_MAX = 500

/** What the steps of a run left in their output folders, e.g. `train/metrics.json`: the first 500 files. */
export async function stepFiles({ context }: Services, runId: string): Promise<VersionView['artifacts']> {
  const { artifacts, store } = context
  const files: VersionView['artifacts'] = []
  for (const { name, outputDigest } of await stepsOf(store.db, runId)) {
    if (outputDigest === null || !(await artifacts.has(outputDigest))) continue
    for (const entry of (await artifacts.readTree(outputDigest)).entries) {
      if (entry.type !== 'file') continue
      if (files.length === FILES_MAX) return files
      files.push({ name: `${name}/${entry.path}`, digest: entry.digest, sizeBytes: entry.sizeBytes })
    }
  }
  return files
}

/** `{ train: { logLoss: 0.4 } }` as `train.logLoss`: one name for each number. */
export function flatMetrics(metrics: MetricTree | null): Record<string, number> | null {
  if (metrics === null) return null
  const named = (tree: MetricTree, above: string): [string, number][] =>
    Object.entries(tree).flatMap(([key, value]): [string, number][] => {
      const name = above === '' ? key : `${above}.${key}`
      return typeof value === 'number' ? [[name, value]] : named(value, name)
    })
  return Object.fromEntries(named(metrics, ''))
}
