import { unreachable } from '../../kernel/errors.ts'
import { configuredModel, type ControlContext } from '../control-context.ts'
import type { ReleaseStep, ReleaseView } from './decide-release-step.ts'
import { replicasAtStart } from './decide-replicas.ts'
import { createDeployment } from './deployment-acts.ts'
import { endRelease, flipRoute, moveRelease } from './flip-route.ts'
import { isUp, type Release, type ReleaseEvent } from './release.ts'
import { findDeployment, openDeployments, routeOf } from './release-store.ts'
import { scaleDeployment } from './scale-requests.ts'
import { beginTrial, describeTrial, incumbent, lockRelease, raiseHeldAlert, settleHeldAlert } from './trial-acts.ts'
import type { NextTrial } from './trial.ts'

/** Steps that only write rows. */
export type WrittenStep = Exclude<ReleaseStep, { kind: 'hold' | 'startPreflight' }>

/** Takes a release one step on in one transaction, which does nothing where the release has moved on since. */
export function takeStep(context: ControlContext, view: ReleaseView, step: WrittenStep): Promise<void> {
  const { release } = view
  switch (step.kind) {
    case 'supersede':
    case 'cancel':
    case 'holdBack':
    case 'fail':
    case 'rollBack':
      return end(context, view, step.kind, step.why)
    case 'deploy':
      return deploy(context, release)
    case 'useWarm':
      return useWarm(context, release, step.deploymentId, step.why)
    case 'passPreflight':
      return passPreflight(context, view, step.why)
    case 'beginTrial':
      return beginNextTrial(context, release, step.next, step.why)
    case 'ask':
      return askPerson(context, release, step.why)
    case 'flip':
      return flip(context, release, step.why)
    default:
      return unreachable(step)
  }
}

async function deploy(context: ControlContext, release: Release): Promise<void> {
  const { store, clock } = context
  const { endpoint, model, versionId } = release
  const replicasWanted = await replicasFor(context, release)
  await store.transaction(async (tx) => {
    const id = await createDeployment(tx, clock, { endpoint, model, versionId, replicasWanted, discoverable: false })
    const what = `${replicasWanted} replica${replicasWanted === 1 ? '' : 's'} of ${versionId} in ${id}`
    const moved = await moveRelease(tx, clock, release, 'deploy', what, { deployment_id: id })
    if (!moved) await tx.deleteFrom('deployment').where('id', '=', id).execute()
  })
  context.wake('deployment')
}

/** The version is up already: no new deployment, no preflight. One that was kept with less gets more at once. */
async function useWarm(context: ControlContext, release: Release, deploymentId: string, why: string): Promise<void> {
  const { store, clock } = context
  const wanted = await replicasFor(context, release)
  await store.transaction(async (tx) => {
    // It may have begun to drain since it was looked at.
    const deployment = await findDeployment(tx, deploymentId)
    if (deployment === null || !isUp(deployment)) return
    const moved = await moveRelease(tx, clock, release, 'preflightPassed', why, { deployment_id: deploymentId })
    if (moved && wanted > deployment.replicasWanted)
      await scaleDeployment(tx, clock, deployment, wanted, `${release.id}: as many as the champion`)
  })
  context.wake('deployment')
}

/** As many as those have whose traffic it is to take. */
async function replicasFor(context: ControlContext, release: Release): Promise<number> {
  const { db } = context.store
  const champion = incumbent(await routeOf(db, release.endpoint), await openDeployments(db), release)
  const declared = configuredModel(context.project(), release.model)?.serving.replicas ?? null
  return replicasAtStart(declared, champion?.replicasWanted ?? 0)
}

/** From now on gateways see its deployment. */
async function passPreflight(context: ControlContext, { release, deployment }: ReleaseView, why: string) {
  const { store, clock } = context
  await store.transaction(async (tx) => {
    if (!(await moveRelease(tx, clock, release, 'preflightPassed', why))) return
    await tx.updateTable('deployment').set({ discoverable: true }).where('id', '=', deployment!.id).execute()
  })
  context.wake('route')
}

async function beginNextTrial(context: ControlContext, release: Release, next: NextTrial, why: string): Promise<void> {
  const { store, clock, log } = context
  const begun = await store.transaction(async (tx) => {
    if (!(await lockRelease(tx, release))) return null
    const id = await beginTrial(tx, clock, release, next)
    if (id === null) return null
    const text = `${describeTrial(next)} begins: ${why}`
    await moveRelease(tx, clock, release, trialEvent(release, next), text)
    await settleHeldAlert(tx, clock, release, text)
    return id
  })
  if (begun === null) return
  log.info({ release: release.id, trial: begun, ...next }, 'a trial has begun')
  context.wake('route')
}

/** Which event the beginning of a trial is, by what was there before. */
function trialEvent({ status }: Release, { kind, step }: NextTrial): ReleaseEvent {
  if (kind === 'shadow') return 'startShadow'
  if (step === 1) return 'startCanary'
  return status === 'held' ? 'resume' : 'nextStep'
}

/** It is judged on; a person may decide without the evidence. */
async function askPerson(context: ControlContext, release: Release, why: string): Promise<void> {
  const { store, clock, log } = context
  await store.transaction(async (tx) => {
    if (!(await moveRelease(tx, clock, release, 'hold', why))) return
    await raiseHeldAlert(tx, clock, release, why)
  })
  log.warn({ release: release.id, why }, 'a release is held, and a person is asked')
}

async function flip(context: ControlContext, release: Release, why: string): Promise<void> {
  const { store, clock, log } = context
  if (!(await store.transaction((tx) => flipRoute(tx, clock, release, why)))) return
  log.info({ release: release.id, version: release.versionId, endpoint: release.endpoint }, 'the route has flipped')
  context.wake('route')
}

async function end(
  context: ControlContext,
  { release, rejected }: ReleaseView,
  how: 'fail' | 'supersede' | 'cancel' | 'holdBack' | 'rollBack',
  why: string,
): Promise<void> {
  const { store, clock, log } = context
  const event = how === 'holdBack' ? 'cancel' : how
  const isRefused = how === 'fail' || how === 'rollBack' || rejected !== null
  const disposition = isRefused ? 'refused' : how === 'holdBack' ? 'awaiting-approval' : 'spare'
  await store.transaction((tx) => endRelease(tx, clock, release, { event, why, disposition }))
  log.warn({ release: release.id, event, why }, 'a release ended without the traffic')
  for (const topic of ['route', 'release', 'deployment', 'evaluation'] as const) context.wake(topic)
}
