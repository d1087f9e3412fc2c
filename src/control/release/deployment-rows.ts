import { listPins } from '../caller/caller-store.ts'
import type { CallerPin } from '../caller/caller.ts'
import type { ControlContext } from '../control-context.ts'
import { declaredVersions } from './declared-versions.ts'
import type { Fallback } from './fallback.ts'
import type { GatherMember } from './gather.ts'
import { gatherMembers } from './gather-store.ts'
import type { Deployment, Replica, Route } from './release.ts'
import { deploymentsWithReplicas, openReplicas, routes } from './release-store.ts'

/** Deployments and who needs them, as one look reads them. */
export interface DeploymentRows {
  routes: Route[]
  pins: CallerPin[]
  gatherMembers: GatherMember[]
  /** Versions that gathers are to have, and that rules name by number. */
  declared: Fallback[]
  deployments: Deployment[]
  replicas: Replica[]
}

/** Routes come first: what they lead to was made known before. */
export async function readDeploymentRows(context: ControlContext): Promise<DeploymentRows> {
  const { db } = context.store
  return {
    routes: await routes(db),
    pins: await listPins(db),
    gatherMembers: await gatherMembers(db),
    declared: await declaredVersions(db, context.project()?.project ?? null),
    deployments: await deploymentsWithReplicas(db),
    replicas: await openReplicas(db),
  }
}
