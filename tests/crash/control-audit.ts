import type { RetirementRow } from '../../src/surface/api/retirement-schemas.ts'
import type { ReleaseView } from '../../src/surface/api/release-schemas.ts'
import type { RunSummary, RunView } from '../../src/surface/api/run-schemas.ts'
import type { ControlApi } from '../../src/surface/client/control-plane.ts'
import type { Change, Changes } from './changes.ts'
import { MODEL, type WitnessLine } from './project.ts'
import { until } from './until.ts'

/** Complaints, each a sentence with values; empty lists are what is wanted. */
export interface ControlAudit {
  lostChanges: string[]
  /** Steps that were begun again after their success was recorded, or attempts that were begun twice. */
  repeatedSteps: string[]
  /** Runs and releases that did not end as they should. */
  badEnds: string[]
  runs: number
  steps: number
  attempts: number
  versions: number
  releases: number
  /** Versions that were taken out of service, and of those the deleted ones. */
  retired: number
  deleted: number
}

/** One version after the other is evaluated and tried under traffic, each for some seconds; a dozen may wait. */
const QUIET_MS = 400_000
const ALL = 1_000

/** Waits until nothing is left to do: no run, evaluation or release is open, and what is live answers completely. */
export async function untilQuiet(api: ControlApi): Promise<void> {
  const isQuiet = async () => {
    const [status, versions] = [await api.status.get(), await api.versions.list({ model: MODEL, limit: 50 })]
    const isSettled = versions.every(
      (v) => v.status !== 'candidate' && v.status !== 'evaluating' && v.release !== 'releasing',
    )
    const serves = status.endpoints.every((e) => e.state === 'serving')
    return isSettled && serves && status.runs.length === 0 && status.releases.length === 0
  }
  await until('everything to come to its end', async () => (await isQuiet()) && (await isQuiet()), {
    withinMs: QUIET_MS,
    everyMs: 200,
  })
}

/** To be asked when all is quiet. */
export async function auditControl(api: ControlApi, changes: Changes, witness: WitnessLine[]): Promise<ControlAudit> {
  const summaries = await api.runs.list({ limit: ALL })
  const runs = await inTurn(summaries, ({ id }) => api.runs.get({ id }))
  const releases = await api.releases.list({ limit: ALL })
  const versions = await api.versions.list({ model: MODEL, limit: ALL })
  const causes = await everyCause(api)
  const lost = await inTurn(changes.acknowledged, (change) => whyLost(api, change, { summaries, releases, causes }))
  const retirement = await api.retirement.list({ model: MODEL, deleted: true })
  return {
    lostChanges: [...lost.filter((why) => why !== null), ...filesWithoutOneRun(changes.landed, summaries)],
    repeatedSteps: repeatedSteps(runs, witness),
    badEnds: [
      ...runs.flatMap((run) => badEndOfRun(run, changes)),
      ...releases.flatMap(badEndOfRelease),
      ...versions.filter((v) => v.status === 'error').map((v) => `${v.ref} could not be evaluated: ${v.why}`),
      ...(await liveDisagrees(api)),
      ...(await removedInUse(api, retirement)),
    ],
    runs: runs.length,
    steps: runs.flatMap((run) => run.steps).filter(({ status }) => status === 'succeeded').length,
    attempts: runs.flatMap((run) => run.steps).flatMap(({ attempts }) => attempts).length,
    versions: versions.length,
    releases: releases.length,
    retired: retirement.filter(({ status }) => status !== 'kept' && status !== 'proposed').length,
    deleted: retirement.filter(({ status }) => status === 'deleted').length,
  }
}

/** @returns null: it is there as it was acknowledged */
async function whyLost(
  api: ControlApi,
  change: Change,
  { summaries, releases, causes }: { summaries: RunSummary[]; releases: ReleaseView[]; causes: string[] },
): Promise<string | null> {
  const said = JSON.stringify(change)
  switch (change.kind) {
    case 'run':
      return summaries.some(({ id, cause }) => id === change.id && cause.includes(change.why)) ? null : `lost: ${said}`
    case 'cancel': {
      const run = summaries.find(({ id }) => id === change.id)
      return run?.cancelWhy !== null && run?.endedAtMs !== null ? null : `lost: ${said}, ${run?.status}`
    }
    case 'release':
    case 'rollback':
      return releases.some(({ id }) => id === change.id) ? null : `lost: ${said}`
    case 'approved':
    case 'rejected': {
      const { approval } = await api.versions.get({ ref: change.ref })
      return approval?.decision === change.kind && approval.why === change.why ? null : `lost: ${said}`
    }
    case 'import': {
      const { lineage } = await api.versions.get({ ref: change.ref })
      return lineage.importedFrom === change.path ? null : `lost: ${said}`
    }
    case 'retire':
    case 'revive':
    case 'keep':
    case 'unfreeze':
      return causes.some((cause) => cause.includes(change.why)) ? null : `lost: ${said}`
    case 'apply': {
      const revisions = await api.project.revisions({ limit: ALL })
      return revisions.some(({ revision }) => revision === change.revision) ? null : `lost: ${said}`
    }
  }
}

/** New data must start one run, not none and not two. */
function filesWithoutOneRun(landed: string[], runs: RunSummary[]): string[] {
  return landed.flatMap((name) => {
    const started = runs.filter(({ cause }) => cause.includes(name)).map(({ id }) => id)
    return started.length === 1 ? [] : [`${name} started ${started.length} runs: ${started.join(', ')}`]
  })
}

function repeatedSteps(runs: RunView[], witness: WitnessLine[]): string[] {
  const begun = witness.filter(({ what }) => what === 'began')
  const twice = begun
    .filter((a, i) => begun.findIndex((b) => sameAttempt(a, b)) !== i)
    .map((a) => `attempt begun twice: ${JSON.stringify(a)}`)
  const after = runs.flatMap((run) =>
    run.steps.flatMap((step) => {
      const successes = step.attempts.filter(({ status }) => status === 'succeeded')
      if (step.status === 'succeeded' && successes.length !== 1)
        return [`${run.id} ${step.name} succeeded ${successes.length} times`]
      const success = successes[0]
      if (success === undefined) return []
      const later = begun.filter((b) => b.run === run.id && b.step === step.name && b.attempt > success.attempt)
      return later.map(
        (b) => `${run.id} ${step.name} began attempt ${b.attempt} after ${success.attempt} had succeeded`,
      )
    }),
  )
  return [...twice, ...after]
}

const sameAttempt = (a: WitnessLine, b: WitnessLine) => a.run === b.run && a.step === b.step && a.attempt === b.attempt

/** The trainer never fails by itself, so that every run succeeds that nobody has cancelled. */
function badEndOfRun(run: RunView, changes: Changes): string[] {
  if (run.status === 'succeeded') return run.outcome.version === null ? [`${run.id} succeeded without a version`] : []
  if (run.status === 'cancelled' && run.cancelWhy !== null && changes.mayHaveCancelled(run.id)) return []
  return [`${run.id} is ${run.status}: ${run.why}`]
}

function badEndOfRelease(release: ReleaseView): string[] {
  if (release.status !== 'failed' && release.endedAtMs !== null) return []
  return [`${release.id} of ${release.version} is ${release.status}: ${release.why}`]
}

/** What was said to every change, from the events: what a person did is found there by what they said. */
async function everyCause(api: ControlApi): Promise<string[]> {
  const causes: string[] = []
  for (let afterSeq = 0; ;) {
    const events = await api.events.list({ afterSeq, limit: ALL })
    causes.push(...events.map(({ cause }) => cause))
    if (events.length < ALL) return causes
    afterSeq = events.at(-1)!.seq
  }
}

/** The champion and the version to go back to are never taken out of service. */
async function removedInUse(api: ControlApi, retirement: RetirementRow[]): Promise<string[]> {
  const { aliases } = await api.models.get({ model: MODEL })
  return retirement.flatMap(({ version, status, why }) =>
    aliases.some((alias) => alias.version === version) && status !== 'kept' && status !== 'proposed'
      ? [`${version} is in use and ${status}: ${why}`]
      : [],
  )
}

/** The route, the alias and the last release that took the traffic say the same. */
async function liveDisagrees(api: ControlApi): Promise<string[]> {
  const [endpoint] = await api.endpoints.list()
  const { champion } = await api.models.get({ model: MODEL })
  const live = endpoint?.members.filter(({ weightPercent }) => weightPercent > 0).map(({ version }) => version) ?? []
  return live.length === 1 && live[0] === champion
    ? []
    : [`the route says ${live.join(', ')}, the champion is ${champion}`]
}

async function inTurn<T, U>(items: T[], act: (item: T) => Promise<U>): Promise<U[]> {
  const results: U[] = []
  for (const item of items) results.push(await act(item))
  return results
}
