import type { CanaryLook, CanaryStep, CanaryView } from '../../../src/surface/api/canary-schemas.ts'
import type { LookFacts, TrialFacts } from './loop-facts.ts'

/**
 * Keeps what Millrace showed of each release on trial (`millrace canary`): it shows the newest one only. The last view
 * of a release has all of its steps and looks.
 */
export class TrialBook {
  private readonly views = new Map<string, CanaryView>()
  private readonly closed = new Set<string>()

  see(view: CanaryView): void {
    this.views.set(view.release, view)
    if (!view.running) this.closed.add(view.release)
  }

  /** Nothing new will be shown of it. */
  isClosed(release: string): boolean {
    return this.closed.has(release)
  }

  /** Never on trial. */
  close(release: string): void {
    this.closed.add(release)
  }

  /** @param calendarAt - calendar time at a moment of real time */
  facts(calendarAt: (atMs: number) => number): TrialFacts[] {
    return [...this.views.values()].flatMap((view) =>
      view.steps
        .filter((step) => step.trial !== null && step.startedAtMs !== null)
        .map((step) => trialFacts(view, step, calendarAt)),
    )
  }
}

function trialFacts(view: CanaryView, step: CanaryStep, calendarAt: (atMs: number) => number): TrialFacts {
  const startedAtMs = step.startedAtMs!
  // Each look is at the step that ran then; the one that ended it may be a moment older or newer than its end.
  const later = view.steps.map((other) => other.startedAtMs ?? Infinity).filter((atMs) => atMs > startedAtMs)
  const untilMs = Math.min(Infinity, ...later)
  const looks = looksOf(view).filter(({ atMs }) => atMs >= startedAtMs && atMs < untilMs)
  return {
    id: step.trial!,
    release: view.release,
    version: view.challenger,
    champion: view.champion,
    kind: step.kind,
    step: step.step,
    weightPercent: step.weightPercent,
    status: step.state === 'ended' ? 'ended' : 'running',
    why: step.why ?? view.why ?? 'none given',
    startedAtMs,
    startedCalendarMs: calendarAt(startedAtMs),
    endedAtMs: step.endedAtMs,
    looks: looks.map((look) => lookFacts(look, calendarAt)),
  }
}

/** Oldest first, the last one among them. */
function looksOf({ looks, look }: CanaryView): CanaryLook[] {
  const kept = looks.toReversed()
  return look === null || kept.some(({ atMs }) => atMs >= look.atMs) ? kept : [...kept, look]
}

function lookFacts(look: CanaryLook, calendarAt: (atMs: number) => number): LookFacts {
  const { decision, why, atMs, requests, labels, tests } = look
  return { decision, why, atMs, calendarMs: calendarAt(atMs), requests, labels, tests }
}

/** Where the calendar stood: it is set from day to day, and stands still or crawls in between. */
export function calendarFrom(moves: { atMs: number; calendarMs: number }[]): (atMs: number) => number {
  return (atMs) => (moves.findLast((move) => move.atMs <= atMs) ?? moves[0])?.calendarMs ?? atMs
}
