import type { HandlerGroup } from '../../surface/api/handlers.ts'
import type { BudgetView } from '../../surface/api/service-level-schemas.ts'
import type { ServiceLevel } from '../../surface/api/service-level-schemas.ts'
import { requireModel } from './world.ts'

export const fakeServiceLevelHandlers = (): HandlerGroup<'serviceLevels'> => ({
  get: () => fakeServiceLevels,
  budgets: ({ model: name }) => (name === undefined ? null : requireModel(name), fakeBudgets),
})

export const fakeServiceLevels: ServiceLevel[] = [
  {
    phase: 'run',
    indicator: 'run success',
    model: 'late-flight',
    value: 1,
    unit: 'ratio',
    objective: 0.95,
    met: true,
    count: 2,
    windowMs: 604_800_000,
  },
]

const fakeBurns: BudgetView['burns'] = [
  { limit: 14.4, severity: 'page', longMs: 3_600_000, longRate: 20, shortMs: 300_000, shortRate: 30, burning: true },
  { limit: 6, severity: 'page', longMs: 21_600_000, longRate: 7.25, shortMs: 1_800_000, shortRate: 0, burning: false },
  { limit: 1, severity: 'ticket', longMs: 259_200_000, longRate: 0, shortMs: 21_600_000, shortRate: 0, burning: false },
]

export const fakeBudgets: BudgetView[] = [
  {
    model: 'late-flight',
    level: 'runSuccess',
    phase: 'pipeline',
    events: 'runs',
    objective: 0.9,
    thresholdMs: null,
    windowMs: 2_592_000_000,
    good: 1,
    bad: 2,
    left: 0,
    burns: fakeBurns.map((burn) => ({ ...burn, longRate: 0, shortRate: 0, burning: false })),
    state: 'spent',
    why: '2 of the last 3 runs were bad',
    effect: 'freeze',
    freeze: 'freeze-1',
    restores: '2 good runs in a row',
    alert: 'alert-4',
  },
  {
    model: 'late-flight',
    level: 'latency',
    phase: 'serving',
    events: 'requests',
    objective: 0.99,
    thresholdMs: 200,
    windowMs: 2_592_000_000,
    good: 12_000,
    bad: 60,
    left: 0.502,
    burns: fakeBurns,
    state: 'burning',
    why: '60 of 12060 requests were bad in 30 days',
    effect: 'tell',
    freeze: null,
    restores: null,
    alert: 'alert-5',
  },
]
