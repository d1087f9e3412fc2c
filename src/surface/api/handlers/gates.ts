import { evaluationOf, gateOf } from '../../../control/evaluation/evaluation-store.ts'
import { resolveVersion } from '../../../control/registry/version-store.ts'
import { setApproval } from '../../../control/registry/version-requests.ts'
import { aliasTarget } from '../../../control/registry/version-store.ts'
import { MillraceError } from '../../../kernel/errors.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { Services } from './services.ts'
import { gateView, versionSummary } from './version-view.ts'

class VersionIsLiveError extends MillraceError {
  constructor(ref: string) {
    super({
      code: 'MR_VERSION_IS_LIVE',
      kind: 'conflict',
      message: `${ref} is live: it can't be rejected while it has the traffic.`,
      fix: `Run 'millrace rollback' first, then reject it.`,
    })
  }
}

class VersionUnfinishedError extends MillraceError {
  constructor(ref: string) {
    super({
      code: 'MR_VERSION_NOT_OPENED',
      kind: 'conflict',
      message: `${ref} has not been opened yet, or can't be served.`,
      fix: `Wait for its evaluation; 'millrace models show ${ref}' tells how far it is.`,
      retryable: true,
    })
  }
}

export const gateHandlers = (services: Services): HandlerGroup<'gates'> => ({
  async get({ ref }) {
    const { db } = services.context.store
    const version = await resolveVersion(db, ref)
    return gateView(version, await evaluationOf(db, version.id), await gateOf(db, version.id))
  },
  approve: ({ ref, why, by }) => decide(services, ref, 'approved', why, by),
  reject: ({ ref, why, by }) => decide(services, ref, 'rejected', why, by),
})

async function decide(services: Services, ref: string, decision: 'approved' | 'rejected', why: string, by: string) {
  const { store, clock } = services.context
  const version = await resolveVersion(store.db, ref)
  if (decision === 'rejected' && (await aliasTarget(store.db, version.model, 'champion')) === version.id)
    throw new VersionIsLiveError(version.id)
  if (decision === 'approved' && version.signature === null) throw new VersionUnfinishedError(version.id)
  await store.transaction((tx) => setApproval(tx, clock, version.id, { decision, by, why, atMs: clock.epochMs() }))
  services.context.wake('release')
  return versionSummary(services, await resolveVersion(store.db, version.id))
}
