import type { ModelConfig } from '../../config/project.ts'
import { BackfillRangeError } from './errors.ts'

/** Runs of past dates, in order, one at a time. What they make is evaluated and never released by itself. */
export interface Backfill {
  status: 'running' | 'done' | 'cancelled'
  fromMs: number
  everyMs: number
  /** As-of dates: `fromMs`, then every `everyMs`. */
  count: number
  /** So many have been queued. */
  queued: number
  params: Record<string, string | number | boolean>
  why: string
  by: string
  createdAtMs: number
  /** Why it was cancelled. */
  endedWhy: string | null
}

/** Longer ones are asked for in parts. */
export const BACKFILL_RUNS_MAX = 366
/** Of a model, at once. They run one after the other. */
export const BACKFILLS_OPEN_MAX = 10

/** Of the dates from `fromMs` to `untilMs`, both included. @throws BackfillRangeError */
export function countDates(range: { fromMs: number; untilMs: number; everyMs: number }, nowMs: number): number {
  const { fromMs, untilMs, everyMs } = range
  if (untilMs < fromMs)
    throw new BackfillRangeError(
      `A backfill from ${day(fromMs)} to ${day(untilMs)} has no dates.`,
      'Give --from before --to.',
    )
  if (untilMs > nowMs)
    throw new BackfillRangeError(
      `A backfill up to ${day(untilMs)} reaches beyond the calendar's now, ${day(nowMs)}.`,
      'Choose an earlier --to; what lies ahead is the business of a cron trigger.',
    )
  const count = Math.floor((untilMs - fromMs) / everyMs) + 1
  if (count > BACKFILL_RUNS_MAX)
    throw new BackfillRangeError(
      `That would be ${count} runs; a backfill has at most ${BACKFILL_RUNS_MAX}.`,
      'Choose a longer --every, or ask for it in parts.',
    )
  return count
}

export const asOfMs = ({ fromMs, everyMs }: Backfill, index: number): number => fromMs + index * everyMs

export type BackfillDecision =
  | { kind: 'wait'; why: string }
  | { kind: 'queue'; index: number } // the next date
  | { kind: 'end' } // the last run has ended

/** Gives way to every other run and evaluation of the model. Pure. */
export function decideBackfill(
  backfill: Backfill,
  seen: { model: ModelConfig | null; openRun: string | null; undecided: string | null; before: string | null },
): BackfillDecision {
  if (seen.openRun !== null) return { kind: 'wait', why: `${seen.openRun} goes first` }
  if (backfill.queued >= backfill.count) return { kind: 'end' }
  if (seen.model === null) return { kind: 'wait', why: 'the model has left the configuration' }
  if (seen.before !== null) return { kind: 'wait', why: `${seen.before} goes first` }
  if (seen.undecided !== null) return { kind: 'wait', why: `${seen.undecided} is to be judged first` }
  return { kind: 'queue', index: backfill.queued }
}

const day = (ms: number) => new Date(ms).toISOString().slice(0, 16)
