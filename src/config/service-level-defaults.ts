import type { Importance, ServiceLevelConfig, ServiceLevelName } from './project.ts'

/** What is promised where the user did not say: by importance, `[critical, normal, low]`. */
interface Defaults {
  objective: readonly [number, number, number]
  /** What makes an event good, as a duration in ms; null where it is good or bad by itself. */
  thresholdMs: readonly [number, number, number] | null
  effect: ServiceLevelConfig['effect']
}

const [SECOND, MINUTE, HOUR, DAY] = [1_000, 60_000, 3_600_000, 86_400_000]

/**
 * Common sense rather than theory: tight enough that a model in trouble is seen, wide enough that a healthy one on a
 * laptop keeps them. Only what spoils the models themselves stops releases; everything else tells.
 */
export const serviceLevelDefaults: Record<ServiceLevelName, Defaults> = {
  triggerPunctuality: {
    objective: [0.99, 0.95, 0.9],
    thresholdMs: [MINUTE, 5 * MINUTE, HOUR],
    effect: 'tell',
  },
  runSuccess: { objective: [0.95, 0.9, 0.8], thresholdMs: null, effect: 'freeze' },
  evaluationValidity: { objective: [0.95, 0.9, 0.8], thresholdMs: null, effect: 'freeze' },
  leadTime: { objective: [0.95, 0.9, 0.8], thresholdMs: [15 * MINUTE, HOUR, 6 * HOUR], effect: 'tell' },
  availability: { objective: [0.999, 0.995, 0.99], thresholdMs: null, effect: 'tell' },
  latency: { objective: [0.99, 0.99, 0.95], thresholdMs: [100, 200, SECOND], effect: 'tell' },
  logLag: { objective: [0.99, 0.99, 0.95], thresholdMs: [10 * SECOND, 30 * SECOND, 2 * MINUTE], effect: 'tell' },
  monitorFreshness: { objective: [0.99, 0.95, 0.9], thresholdMs: [2 * HOUR, 6 * HOUR, DAY], effect: 'tell' },
  modelAge: { objective: [0.95, 0.95, 0.9], thresholdMs: [30 * DAY, 90 * DAY, 180 * DAY], effect: 'tell' },
  retirementSafety: { objective: [0.999, 0.99, 0.99], thresholdMs: null, effect: 'tell' },
}

const place: Record<Importance, 0 | 1 | 2> = { critical: 0, normal: 1, low: 2 }

/** The level of this name for a model of this importance, over 30 days unless said. */
export function defaultLevel(name: ServiceLevelName, importance: Importance): Omit<ServiceLevelConfig, 'windowMs'> {
  const { objective, thresholdMs, effect } = serviceLevelDefaults[name]
  const at = place[importance]
  return { name, objective: objective[at], thresholdMs: thresholdMs?.[at] ?? null, effect }
}
