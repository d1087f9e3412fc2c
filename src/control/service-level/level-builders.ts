import type { ServiceLevelConfig } from '../../config/project.ts'
import { burnWindows } from '../../kernel/stats/burn-rate.ts'
import { NO_EVENTS, type EventCount, type LevelEvents } from './level.ts'

/** Levels and their events for tests; what isn't said does not matter to them. */

export function levelOf(overrides: Partial<ServiceLevelConfig> = {}): ServiceLevelConfig {
  return {
    name: 'availability',
    objective: 0.99,
    thresholdMs: null,
    windowMs: 30 * 86_400_000,
    effect: 'tell',
    ...overrides,
  }
}

/** @param burning - by pair: events of the long and the short window; none unless said */
export function eventsOf(
  whole: EventCount,
  { last = [], burning = [] }: { last?: boolean[]; burning?: (LevelEvents['pairs'][number] | undefined)[] } = {},
): LevelEvents {
  const pairs = burnWindows(1).map((_, i) => burning[i] ?? { long: NO_EVENTS, short: NO_EVENTS })
  return { whole, pairs, last }
}
