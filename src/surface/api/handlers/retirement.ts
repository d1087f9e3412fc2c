import { allModels } from '../../../control/control-context.ts'
import { resolveVersion } from '../../../control/registry/version-store.ts'
import type { RetirementOutlook } from '../../../control/retirement/decide-retirement.ts'
import { VersionHeldError } from '../../../control/retirement/errors.ts'
import { retireByHand } from '../../../control/retirement/retirement-acts.ts'
import { keepVersion, reviveVersion } from '../../../control/retirement/retirement-requests.ts'
import { listRetirements } from '../../../control/retirement/retirement-store.ts'
import { holdersOf } from '../../../control/retirement/use-facts.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { RetirementRow } from '../retirement-schemas.ts'
import { declaredModel } from './models.ts'
import type { Services } from './services.ts'

export const retirementHandlers = (services: Services): HandlerGroup<'retirement'> => ({
  async list({ model, deleted }) {
    const models = model === undefined ? allModels(services.context.project()) : [declaredModel(services, model, true)]
    const rows: RetirementRow[] = []
    for (const config of models) {
      if (deleted) rows.push(...(await deletedRows(services, config.name)))
      rows.push(...(await services.retirements.outlook(config)).map((outlook) => rowOf(config.name, outlook)))
    }
    return rows
  },
  async retire({ ref, why, dryRun, by }) {
    const { store, clock } = services.context
    const { id, model } = await resolveVersion(store.db, ref)
    const outside = services.retirements.outside()
    if (dryRun) {
      const heldBy = await store.transaction((tx) => holdersOf(tx, { id, model }, outside, clock.calendarMs()))
      if (heldBy.length > 0) throw new VersionHeldError(id, heldBy)
    } else await store.transaction((tx) => retireByHand(tx, clock, { versionId: id, model, why, by, outside }))
    services.context.wake('retirement')
    return rowOfVersion(services, model, id)
  },
  async revive({ ref, why, by }) {
    const { store, clock } = services.context
    const { id, model } = await resolveVersion(store.db, ref)
    await store.transaction((tx) => reviveVersion(tx, clock, { versionId: id, why, by }))
    return rowOfVersion(services, model, id)
  },
  async keep({ ref, why, untilMs, by }) {
    const { store, clock } = services.context
    const { id, model } = await resolveVersion(store.db, ref)
    await store.transaction((tx) => keepVersion(tx, clock, { versionId: id, model, why, by, untilCalendarMs: untilMs }))
    return rowOfVersion(services, model, id)
  },
  files: () => services.artifacts.view(),
})

async function deletedRows({ context }: Services, model: string): Promise<RetirementRow[]> {
  const gone = (await listRetirements(context.store.db, { model })).filter((r) => r.status === 'deleted')
  return gone.map((r) => ({
    version: r.versionId,
    model,
    status: r.status,
    policy: r.policy,
    why: r.why,
    heldBy: [],
    next: null,
    outlook: 'its files are gone; lineage and figures stay',
    by: r.by,
    statusAtMs: r.statusCalendarMs,
    keptUntilMs: null,
  }))
}

async function rowOfVersion(services: Services, model: string, versionId: string): Promise<RetirementRow> {
  const outlooks = await services.retirements.outlook(declaredModel(services, model, true))
  return rowOf(
    model,
    outlooks.find(({ view }) => view.versionId === versionId)!,
  )
}

function rowOf(model: string, { view, act, why }: RetirementOutlook): RetirementRow {
  const { retirement } = view
  return {
    version: view.versionId,
    model,
    status: retirement?.status ?? 'kept',
    policy: retirement?.policy ?? null,
    why: retirement?.why ?? null,
    heldBy: view.heldBy,
    next: act?.kind ?? null,
    outlook: why,
    by: retirement?.by ?? null,
    statusAtMs: retirement?.statusCalendarMs ?? null,
    keptUntilMs: retirement?.keptUntilCalendarMs ?? null,
  }
}
