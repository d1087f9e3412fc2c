import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { BackfillView, TriggerDetail, TriggerEventView } from '../../surface/api/triggers-schemas.ts'
import { T0, type FakeWorld } from './world.ts'

export const fakeTriggerHandlers = (world: FakeWorld): HandlerGroup<'triggers'> => ({
  list: () => [fakeTrigger],
  history: () => [fakeTriggerEvent],
  pause: (input) => (
    world.did('triggers.pause', input),
    [{ ...fakeTrigger, state: 'paused' as const, why: input.why }]
  ),
  resume: (input) => (world.did('triggers.resume', input), [fakeTrigger]),
})

export const fakeBackfillHandlers = (world: FakeWorld): HandlerGroup<'backfills'> => ({
  list: () => [fakeBackfill],
  start: (input) => (world.did('backfills.start', input), fakeBackfill),
  cancel: (input) => (world.did('backfills.cancel', input), { ...fakeBackfill, status: 'cancelled' as const }),
})

const fakeTrigger: TriggerDetail = {
  model: 'late-flight',
  trigger: 'cron-1',
  kind: 'cron',
  declared: '0 3 * * MON (Europe/Berlin)',
  state: 'watching',
  why: 'not yet time',
  nextAtMs: T0 + 7 * 86_400_000,
  lastFiredAtMs: T0,
  lastRun: 'run-2',
}

const fakeTriggerEvent: TriggerEventView = {
  model: 'late-flight',
  trigger: 'cron-1',
  what: 'skipped',
  why: 'run-2 of the model was still open, and overlap is false',
  run: null,
  atMs: T0,
  calendarMs: T0,
}

const fakeBackfill: BackfillView = {
  model: 'late-flight',
  backfill: 'backfill-1',
  status: 'running',
  why: '3 of 31 queued: run-2 goes first',
  fromMs: T0,
  everyMs: 86_400_000,
  runs: 31,
  queued: 3,
  succeeded: 2,
  failed: 0,
  cause: 'new feature',
  by: 'ann',
  createdAtMs: T0,
}
