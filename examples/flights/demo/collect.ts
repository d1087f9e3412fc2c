import { copyFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { RunSummary } from '../../../src/surface/api/run-schemas.ts'
import type { BudgetView } from '../../../src/surface/api/service-level-schemas.ts'
import { scoreWith } from './frozen-model.ts'
import { readLake, readOrigins, untilInLake } from './lake.ts'
import type { Ledger } from './ledger.ts'
import { firingsOf, retirementsOf, withFirstWords, type LevelFacts, type LoopFacts } from './loop-facts.ts'
import { DemoError, type Millrace } from './millrace-client.ts'
import type { Day } from './online-features.ts'
import type { Replayed } from './replay.ts'
import type { Seen } from './report.ts'
import type { Scenario } from './scenario.ts'
import { calendarFrom, type TrialBook } from './trial-book.ts'

/** Everything that the report is made of, once the last label has been sent. */

export interface Collected {
  millrace: Millrace
  model: string
  scenario: Scenario
  days: Day[]
  ledger: Ledger
  replayed: Replayed
  trials: TrialBook
  first: FirstVersion
  started: { atMs: number; monotonicMs: number }
}

/** The version that served first, with a copy of its file: its own may be deleted when it is retired. */
export interface FirstVersion {
  ref: string
  modelFile: string
}

/** @throws DemoError if no version serves */
export async function keepFirstVersion(millrace: Millrace, model: string, folder: string): Promise<FirstVersion> {
  const live = (await millrace.versions(model)).find(({ release }) => release === 'live')
  if (live === undefined) throw new DemoError('No version serves.')
  const modelFile = join(folder, 'first-version.onnx')
  await copyFile(await millrace.modelFile(live.ref), modelFile)
  return { ref: live.ref, modelFile }
}

export async function collect(parts: Collected): Promise<Seen> {
  const { millrace, model, scenario, days, ledger, replayed, first, started } = parts
  await untilInLake(millrace, ledger.labelsSent)
  const lake = await readLake(millrace, model)
  const versions = await millrace.versions(model)
  const runs = await millrace.runs(model)
  const { fault } = scenario
  return {
    startedAtMs: started.atMs,
    durationMs: performance.now() - started.monotonicMs,
    machine: { node: process.version, platform: `${process.platform}-${process.arch}`, cpus: availableParallelism() },
    calendar: { fromMs: days[0]!.startMs, untilMs: days.at(-1)!.startMs, days: days.length, holds: replayed.holds },
    weeksLanded: scenario.weeksBefore + replayed.weeksLanded,
    versions: await Promise.all(
      versions.map(async (version) => ({
        version,
        gate: await millrace.gate(version.ref),
        run: runs.find(({ outcome }) => outcome.version === version.ref) ?? null,
      })),
    ),
    releases: await millrace.releases(model),
    loop: await loopFacts(parts, runs),
    fault: fault === null || replayed.onsetAtMs === null ? null : { ...fault, onsetAtMs: replayed.onsetAtMs },
    requests: {
      sent: ledger.sent,
      answered: ledger.acknowledged.length,
      failed: ledger.failed,
      interrupted: ledger.interrupted,
      sentWhileHeld: ledger.sentWhileHeld,
      sentOnTrial: ledger.sentOnTrial,
    },
    faults: ledger.faults,
    labels: { sent: ledger.labelsSent, accepted: ledger.labelsAccepted },
    acknowledged: ledger.acknowledged,
    lake,
    frozen: {
      version: first.ref,
      probabilities: await scoreWith(
        first.modelFile,
        lake.map((row) => row.features),
      ),
    },
  }
}

async function loopFacts({ millrace, model, trials, replayed }: Collected, runs: RunSummary[]): Promise<LoopFacts> {
  const events = await millrace.events()
  const calendarAt = calendarFrom(replayed.moves)
  const freezes = await millrace.freezes(model)
  return {
    firings: firingsOf(events, runs),
    trials: trials.facts(calendarAt),
    alarms: withFirstWords(await millrace.alarms(model), events),
    retirements: retirementsOf(events),
    freezes: freezes.map(({ kind, why, createdAtMs, endedWhy }) => ({
      kind,
      why,
      endedWhy,
      calendarMs: calendarAt(createdAtMs),
    })),
    levels: (await millrace.budgets(model)).map(levelFacts),
    origins: await readOrigins(millrace, model),
  }
}

function levelFacts({ level, objective, good, bad, left, why }: BudgetView): LevelFacts {
  const events = good + bad
  return { name: level, objective, attained: events === 0 ? null : good / events, events, budgetLeft: left, why }
}
