import type { Transaction } from 'kysely'
import type { Clock } from '../../kernel/clock.ts'
import { MillraceError } from '../../kernel/errors.ts'
import type { Database } from '../../kernel/store/schema.ts'
import { endRelease, flipRoute } from './flip-route.ts'
import type { Release } from './release.ts'
import { openReleases } from './release-store.ts'
import { lockRelease } from './trial-acts.ts'

/** What a person may ask of a release that is being tried. It is done in the caller's transaction, or not at all. */
export interface TrialRequest {
  endpoint: string
  why: string
  by: string
}

export class NoCanaryError extends MillraceError {
  constructor(endpoint: string) {
    super({
      code: 'MR_NO_CANARY',
      kind: 'conflict',
      message: `No release is being tried on endpoint '${endpoint}' now.`,
      fix: `Run 'millrace canary' to see what is tried, 'millrace releases' what came of the last ones.`,
    })
  }
}

/** The release that is shadowing, in its canary, or held. @throws NoCanaryError */
export async function triedRelease(tx: Transaction<Database>, endpoint: string): Promise<Release> {
  const tried = ['shadowing', 'canary', 'held']
  const found = (await openReleases(tx)).find((r) => r.endpoint === endpoint && tried.includes(r.status))
  if (found === undefined) throw new NoCanaryError(endpoint)
  return found
}

/** Gives all traffic back to the champion. @returns the release's id @throws NoCanaryError */
export async function stopTrial(tx: Transaction<Database>, clock: Clock, request: TrialRequest): Promise<string> {
  const release = await locked(tx, request.endpoint)
  const why = `stopped by ${request.by}: ${request.why}`
  await endRelease(tx, clock, release, { event: 'cancel', why, disposition: 'spare' })
  return release.id
}

/** Gives it all traffic now, whatever evidence there is. @returns the release's id @throws NoCanaryError */
export async function promoteTrial(tx: Transaction<Database>, clock: Clock, request: TrialRequest): Promise<string> {
  const release = await locked(tx, request.endpoint)
  if (!(await flipRoute(tx, clock, release, `promoted by ${request.by}: ${request.why}`)))
    throw new NoCanaryError(request.endpoint)
  return release.id
}

async function locked(tx: Transaction<Database>, endpoint: string): Promise<Release> {
  const release = await triedRelease(tx, endpoint)
  // It may have moved on between the two.
  return (await lockRelease(tx, release)) ? release : triedRelease(tx, endpoint)
}
