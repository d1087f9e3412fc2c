import type { LoopFacts, TrialFacts } from './loop-facts.ts'
import type { DemoReport } from './report-schema.ts'

/** From Millrace's rows about the loop to its part of the report. Pure. */
export function describeLoop(
  loop: LoopFacts,
): Pick<DemoReport, 'triggers' | 'trials' | 'alarms' | 'retirements' | 'freezes' | 'serviceLevels'> {
  return {
    triggers: describeTriggers(loop),
    trials: loop.trials.map(describeTrial),
    alarms: loop.alarms.map((alarm) => ({
      id: alarm.id,
      source: alarm.source,
      subject: alarm.subject,
      severity: alarm.severity,
      raised: isoDay(alarm.firedCalendarMs),
      resolved: alarm.resolvedAtMs !== null,
      version: alarm.version,
      response: alarm.response,
      why: alarm.why,
    })),
    retirements: loop.retirements
      .filter(({ status }) => status !== 'kept')
      .map(({ version, status, policy, why, calendarMs }) => ({
        version,
        status,
        policy,
        why,
        at: isoDay(calendarMs),
      })),
    freezes: loop.freezes.map(({ kind, why, calendarMs, endedWhy }) => ({
      kind,
      at: isoDay(calendarMs),
      why,
      ended: endedWhy,
    })),
    serviceLevels: loop.levels,
  }
}

function describeTriggers({ firings }: LoopFacts): DemoReport['triggers'] {
  const fired = firings.filter(({ what }) => what === 'fired')
  const kinds = [...new Set(fired.map(({ kind }) => kind))].sort()
  return {
    fired: Object.fromEntries(kinds.map((kind) => [kind, fired.filter((one) => one.kind === kind).length])),
    skipped: firings.length - fired.length,
    firings: fired.map(({ trigger, kind, why, run, calendarMs }) => ({
      at: isoDay(calendarMs),
      trigger,
      kind,
      why,
      run,
    })),
  }
}

function describeTrial(trial: TrialFacts): DemoReport['trials'][number] {
  const last = trial.looks.at(-1)
  const { startedAtMs, endedAtMs } = trial
  const isOpen = trial.status === 'running'
  return {
    id: trial.id,
    release: trial.release,
    version: trial.version,
    champion: trial.champion,
    kind: trial.kind,
    weightPercent: trial.weightPercent,
    from: isoDay(trial.startedCalendarMs),
    seconds: endedAtMs === null ? null : Math.round((endedAtMs - startedAtMs) / 10) / 100,
    outcome: isOpen ? 'open' : (last?.decision ?? 'ended'),
    why: isOpen ? (last?.why ?? trial.why) : trial.why,
    looks: trial.looks.map(({ calendarMs, decision, why, requests, labels }) => ({
      at: isoDay(calendarMs),
      decision,
      why,
      requests,
      labels,
    })),
    tests: last?.tests ?? [],
  }
}

const isoDay = (timeMs: number) => new Date(timeMs).toISOString().slice(0, 10)
