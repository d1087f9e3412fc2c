import type { Kysely } from 'kysely'
import type { Artifacts } from '../../kernel/artifacts/artifacts.ts'
import { MillraceError } from '../../kernel/errors.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { aliases, findVersion } from '../registry/version-store.ts'
import { openDeployments } from '../release/release-store.ts'
import { windowsOf } from './judge.ts'
import type { MonitorState } from './monitor-store.ts'
import { bucketOf, DAY_MS, HOUR_MS, type ObservedVersion, type QualityQuestion } from './observation.ts'
import type { Subject } from './subject.ts'
import { RIPENESS, WINDOWS_MAX, windowStart } from './windows.ts'

/** Versions that may have rows in the lake that are new: those that serve, and those that a name points to. */
export async function versionsToObserve(
  db: Kysely<Database>,
  artifacts: Artifacts,
  subjects: Subject[],
): Promise<ObservedVersion[]> {
  const ids = new Set([
    ...(await openDeployments(db)).map((deployment) => deployment.versionId),
    ...(await aliases(db)).map((alias) => alias.versionId),
  ])
  const observed: ObservedVersion[] = []
  for (const id of ids) {
    const version = await findVersion(db, id)
    if (version === null || version.signature === null) continue
    const { model, number, signature, scoreOutput, profileDigest } = version
    const windowMs = subjects.find((subject) => subject.model.name === model)?.model.monitors.windowMs ?? HOUR_MS
    const profilePath = profileDigest === null ? null : await readablePath(artifacts, profileDigest)
    const bucketMs = bucketOf(HOUR_MS, windowMs)
    observed.push({ model, version: String(number), signature, scoreOutput, profilePath, bucketMs })
  }
  return observed
}

/** Without its profile a version's rows are counted all the same, and the other versions' with theirs. */
async function readablePath(artifacts: Artifacts, profileDigest: string): Promise<string | null> {
  try {
    return await artifacts.verifiedPath(profileDigest)
  } catch (error) {
    if (error instanceof MillraceError) return null // whoever judges by it says that it is gone or damaged
    throw error
  }
}

/** What to join with labels now: each champion's windows that are due, and the last ones for people to look at. */
export function qualityQuestions(subjects: Subject[], states: MonitorState[], arrivedMs: number): QualityQuestion[] {
  return subjects.flatMap((subject) => questionOf(subject, states, arrivedMs) ?? [])
}

function questionOf(subject: Subject, states: MonitorState[], arrivedMs: number): QualityQuestion | null {
  const { model, champion, loss } = subject
  const { signature, scoreOutput } = champion
  const monitors = model.monitors.monitors.filter((monitor) => RIPENESS[monitor.name] === 'labels')
  if (monitors.length === 0 || model.task === null || signature === null || scoreOutput === null) return null
  const { windowMs, labelDelayMs } = model.monitors
  const toMs = windowStart(arrivedMs, windowMs) + windowMs
  const due = monitors.flatMap((monitor) => {
    const state = states.find((s) => s.model === model.name && s.monitor === monitor.name && s.subject === '')
    return windowsOf(subject, monitor, state ?? null, arrivedMs).windows.map((window) => window.fromMs)
  })
  const recentMs = windowStart(arrivedMs - labelDelayMs, windowMs) - 2 * windowMs
  const fromMs = Math.max(
    Math.min(recentMs, ...due),
    windowStart(subject.sinceMs, windowMs),
    toMs - WINDOWS_MAX * windowMs,
  )
  return {
    model: model.name,
    versions: [{ version: String(champion.number), signature, scoreOutput, loss }],
    task: model.task,
    positive: model.positive,
    fromMs,
    toMs,
    bucketMs: bucketOf(DAY_MS, windowMs),
  }
}
