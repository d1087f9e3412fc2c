import type { ModelConfig, TriggerConfig } from '../../../config/project.ts'
import { checkParams } from '../../../control/pipeline/check-params.ts'
import type { Backfill } from '../../../control/trigger/backfill.ts'
import { TriggerNotFoundError } from '../../../control/trigger/errors.ts'
import {
  cancelBackfill,
  numberOf,
  pauseTriggers,
  requestBackfill,
  resumeTriggers,
} from '../../../control/trigger/trigger-requests.ts'
import {
  backfillRuns,
  lastRuns,
  stateKey,
  triggerHistory,
  triggerStates,
  type TriggerState,
} from '../../../control/trigger/trigger-store.ts'
import type { HandlerGroup } from '../handlers.ts'
import type { BackfillView, TriggerDetail } from '../triggers-schemas.ts'
import { declaredModel } from './models.ts'
import type { Services } from './services.ts'

export const triggerHandlers = (services: Services): HandlerGroup<'triggers'> => ({
  async list({ model, trigger }) {
    const details = await triggerDetails(services, model)
    const found = details.filter((one) => trigger === undefined || one.trigger === trigger)
    if (found.length === 0 && model !== undefined) knownTrigger(model, trigger, details)
    return found
  },
  async history({ model, trigger, limit }) {
    if (model !== undefined) declaredModel(services, model, true)
    const events = await triggerHistory(services.context.store.db, { model, trigger, limit })
    if (events.length === 0 && model !== undefined) knownTrigger(model, trigger, await triggerDetails(services, model))
    return events
  },
  async pause({ model, trigger, why, by }) {
    const { store, clock } = services.context
    const triggers = await meant(services, model, trigger)
    await store.transaction((tx) => pauseTriggers(tx, clock, { model, triggers, why, by }))
    return seenAfter(services, model, triggers)
  },
  async resume({ model, trigger, catchUp, why, by }) {
    const { store, clock } = services.context
    const triggers = await meant(services, model, trigger)
    await store.transaction((tx) => resumeTriggers(tx, clock, { model, triggers, why: why ?? '', by, catchUp }))
    return seenAfter(services, model, triggers)
  },
})

export const backfillHandlers = (services: Services): HandlerGroup<'backfills'> => ({
  async list({ model }) {
    if (model !== undefined) declaredModel(services, model, true)
    return backfillViews(services, model)
  },
  async start({ model, fromMs, untilMs, everyMs, params, why, by }) {
    const { store, clock } = services.context
    const config = declaredModel(services, model)
    checkParams(config, params)
    const request = { model: config, fromMs, untilMs, everyMs, params: params ?? {}, why: why ?? '', by }
    const name = await store.transaction((tx) => requestBackfill(tx, clock, request))
    services.context.wake('trigger')
    return oneBackfill(services, model, name)
  },
  async cancel({ model, backfill, why, by }) {
    const { store, clock } = services.context
    declaredModel(services, model, true)
    await store.transaction((tx) => cancelBackfill(tx, clock, { model, name: backfill, why, by }))
    services.context.wake('trigger')
    services.context.wake('run')
    return oneBackfill(services, model, backfill)
  },
})

/** Every declared trigger and open backfill, as the last look found it and as the store has it now. */
async function triggerDetails(services: Services, only?: string): Promise<TriggerDetail[]> {
  const { context, triggers } = services
  if (only !== undefined) declaredModel(services, only, true)
  const { db } = context.store
  const [states, runs] = [await triggerStates(db), await lastRuns(db)]
  const views = new Map(triggers.views().map((view) => [stateKey(view.model, view.name), view]))
  const detail = (model: string, name: string, kind: TriggerDetail['kind'], declared: string): TriggerDetail => {
    const key = stateKey(model, name)
    const state = states.get(key)
    const paused = state?.paused ?? null
    const seen = views.get(key)
    // Resumed since the last look, which still tells why it was paused.
    const view = seen?.state === 'paused' ? undefined : seen
    return {
      model,
      trigger: name,
      kind,
      declared,
      state: paused !== null ? 'paused' : (view?.state ?? 'watching'),
      why: paused?.why ?? view?.why ?? 'not looked at yet',
      nextAtMs: paused === null ? (view?.nextMs ?? null) : null,
      lastFiredAtMs: state?.lastFiredMs ?? null,
      lastRun: runs.get(key) ?? null,
    }
  }
  const models = (context.project()?.project.models ?? []).filter(({ name }) => only === undefined || name === only)
  const declared = models.flatMap((model) =>
    model.triggers.map((trigger) => detail(model.name, trigger.name, trigger.kind, declaredText(trigger))),
  )
  const backfills = [...states.values()].filter((s) => isRunning(s) && (only === undefined || s.model === only))
  return [...declared, ...backfills.map((s) => detail(s.model, s.name, 'backfill', backfillText(s.seen as Backfill)))]
}

/** @throws TriggerNotFoundError - a name that nothing has: an empty list would read as if it were idle */
function knownTrigger(model: string, trigger: string | undefined, details: TriggerDetail[]): void {
  const known = details.map((one) => one.trigger)
  if (trigger !== undefined && !known.includes(trigger)) throw new TriggerNotFoundError(model, trigger, known)
}

/** The triggers that a person means: one by its name, or all that the model declares. */
async function meant(services: Services, model: string, name: string | undefined) {
  const config: ModelConfig = declaredModel(services, model)
  if (name === undefined) {
    if (config.triggers.length === 0) throw new TriggerNotFoundError(model, null, [])
    return config.triggers
  }
  const declared = config.triggers.find((trigger) => trigger.name === name)
  if (declared !== undefined) return [declared]
  const state = (await triggerStates(services.context.store.db)).get(stateKey(model, name))
  if (state === undefined || !isRunning(state)) {
    const known = config.triggers.map((trigger) => trigger.name)
    throw new TriggerNotFoundError(model, name, known)
  }
  return [{ name, kind: 'backfill' }]
}

async function seenAfter(services: Services, model: string, triggers: { name: string }[]): Promise<TriggerDetail[]> {
  services.context.wake('trigger')
  const names = triggers.map(({ name }) => name)
  return (await triggerDetails(services, model)).filter(({ trigger }) => names.includes(trigger))
}

async function backfillViews(services: Services, only?: string): Promise<BackfillView[]> {
  const { db } = services.context.store
  const views = services.triggers.views()
  const states = [...(await triggerStates(db)).values()]
    .filter((state) => state.kind === 'backfill' && (only === undefined || state.model === only))
    .toSorted(
      (a, b) => (b.seen as Backfill).createdAtMs - (a.seen as Backfill).createdAtMs || numberOf(b) - numberOf(a),
    )
  return Promise.all(
    states.map(async (state) => {
      const { status, endedWhy, fromMs, everyMs, count, queued, why, by, createdAtMs } = state.seen as Backfill
      const ended = await backfillRuns(db, state.model, state.name)
      const view = views.find((v) => v.model === state.model && v.name === state.name)
      const isPaused = status === 'running' && state.paused !== null
      const doing = status === 'done' ? `${ended.succeeded} of ${count} succeeded` : (view?.why ?? 'not looked at yet')
      return {
        model: state.model,
        backfill: state.name,
        status: isPaused ? 'paused' : status,
        why: isPaused ? state.paused!.why : (endedWhy ?? doing),
        fromMs,
        everyMs,
        runs: count,
        queued,
        ...ended,
        cause: why,
        by,
        createdAtMs,
      }
    }),
  )
}

async function oneBackfill(services: Services, model: string, name: string): Promise<BackfillView> {
  return (await backfillViews(services, model)).find(({ backfill }) => backfill === name)!
}

const isRunning = (state: TriggerState) => state.kind === 'backfill' && (state.seen as Backfill).status === 'running'

const backfillText = ({ count, fromMs }: Backfill) =>
  `${count} dates from ${new Date(fromMs).toISOString().slice(0, 10)}`

function declaredText(trigger: TriggerConfig): string {
  switch (trigger.kind) {
    case 'newData':
      return trigger.minFiles === 1 ? trigger.path : `${trigger.minFiles} files of ${trigger.path}`
    case 'cron':
      return `${trigger.cron} (${trigger.timeZone})`
    case 'alarm':
      return `alarm of ${trigger.monitors.length === 0 ? 'any monitor' : trigger.monitors.join(', ')}`
  }
}
