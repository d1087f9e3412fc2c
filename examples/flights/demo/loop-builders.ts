import type { AlarmFacts, LookFacts, LoopFacts, TestFacts, TrialFacts } from './loop-facts.ts'

/** For tests: rows of Millrace about the loop, with everything that a test does not care about. */

export function loop(facts: Partial<LoopFacts> = {}): LoopFacts {
  return {
    firings: [],
    trials: [],
    alarms: [],
    retirements: [],
    freezes: [],
    levels: [],
    origins: {},
    ...facts,
  }
}

export function trial(facts: Partial<TrialFacts> = {}): TrialFacts {
  return {
    id: 'trial-1',
    release: 'release-2',
    version: 'late-flight@2',
    champion: 'late-flight@1',
    kind: 'shadow',
    step: 0,
    weightPercent: 100,
    status: 'ended',
    why: 'goes on with 50%',
    startedAtMs: 1_000,
    startedCalendarMs: Date.UTC(2001, 2, 19, 4),
    endedAtMs: 5_500,
    looks: [look()],
    ...facts,
  }
}

export function look(facts: Partial<LookFacts> = {}): LookFacts {
  return {
    decision: 'next',
    why: 'no harm',
    atMs: 5_400,
    calendarMs: Date.UTC(2001, 2, 22),
    requests: 2_400,
    labels: 2_050,
    tests: [],
    ...facts,
  }
}

export function test(facts: Partial<TestFacts> = {}): TestFacts {
  return {
    test: 'loss',
    verdict: 'harm',
    why: 'worse by at least 0.0041',
    value: 0.02,
    low: 0.0041,
    high: 0.04,
    eValue: null,
    limit: 0.003,
    ...facts,
  }
}

export function alarm(facts: Partial<AlarmFacts> = {}): AlarmFacts {
  return {
    id: 'alert-1',
    version: 'late-flight@1',
    source: 'drift',
    subject: 'distance',
    severity: 'warning',
    why: 'PSI 0.18 of distance',
    figures: { psi: 0.18, limit: 0.1 },
    response: 'tell',
    firedAtMs: 20_000,
    firedCalendarMs: Date.UTC(2001, 2, 22),
    resolvedAtMs: null,
    ...facts,
  }
}
