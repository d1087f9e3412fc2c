import { canServe, type Deployment } from './release.ts'

/** A version that is declared to answer where an endpoint's live ones can't. It may be of another model. */
export interface Fallback {
  endpoint: string
  versionId: string
  /** Why it is kept, where it is for something else than a fallback. */
  as?: string
}

/** The newest deployment of a fallback's version on its endpoint that serves or is about to. */
export function fallbackDeployment({ endpoint, versionId }: Fallback, deployments: Deployment[]): Deployment | null {
  return deployments.findLast((d) => d.endpoint === endpoint && d.versionId === versionId && canServe(d)) ?? null
}
