import { z } from 'zod'
import {
  alarmSchema,
  faultSchema,
  freezeSchema,
  retirementSchema,
  serviceLevelSchema,
  trialSchema,
  triggersSchema,
} from './loop-schema.ts'

/** Shape of demo-report.json; docs/reference/demo-report.schema.json is made from it (a test compares them). */

const count = (what: string) => z.number().int().nonnegative().describe(what)
const isoDate = (what: string) => z.iso.date().describe(what)
const orNull = <T extends z.ZodType>(schema: T, what: string) => schema.nullable().describe(what)

const quality = z.object({
  rows: count('Answered requests behind the figures'),
  logLoss: z.number().describe('Mean of −ln(probability given to what happened); lower is better'),
  auc: orNull(z.number(), 'Chance that a late flight got a higher probability than one in time'),
})

const versionReport = z.object({
  ref: z.string().describe('`model@number`'),
  outcome: z
    .enum(['released', 'rolled-back', 'stopped', 'on-trial', 'waiting', 'spare', 'rejected'])
    .describe(
      '`released`: it took all of the traffic; `rolled-back`: lost its share in the canary; `stopped`: in preflight or shadow, before any traffic; `on-trial`: undecided when the demo ended; `waiting`: for a person; `spare`: passed the gate, not released; `rejected`: did not pass',
    ),
  why: z.string().describe('The reason, as Millrace gives it'),
  cause: z.string().describe('What started its training'),
  asOf: isoDate('Calendar day of its training'),
  verdict: orNull(z.string(), 'Of the gate: passed, failed, inconclusive or error'),
  logLoss: orNull(z.number(), 'On the holdout, measured by Millrace'),
  auc: orNull(z.number(), 'On the holdout'),
  champion: orNull(z.string(), 'What it was compared with; null: there was none'),
  championLogLoss: orNull(z.number(), 'Of that version on the same rows'),
  gain: orNull(z.number(), 'championLogLoss − logLoss on the same rows'),
  gainLower: orNull(z.number(), 'Lower bound of the gain'),
  gainUpper: orNull(z.number(), 'Upper bound of the gain'),
  leadTimeMs: orNull(z.number(), 'From the end of training to its first live answer, in ms; null: never live'),
  answered: count('Requests of this replay that it answered'),
  retired: orNull(z.string(), 'How far it has gone out of service, and why; null: it is kept'),
})

export const demoReportSchema = z
  .object({
    startedAt: z.iso.datetime().describe('Real time'),
    durationSeconds: z.number().describe('Of the whole demo'),
    machine: z.object({ node: z.string(), platform: z.string(), cpus: z.number().int() }),
    calendar: z
      .object({
        from: isoDate('First day on which flights were asked about'),
        until: isoDate('Last such day'),
        days: count('Days replayed'),
        heldSeconds: z.number().describe('Real time in which the calendar was held'),
        holds: z.array(
          z.object({ at: isoDate('Day on which the calendar was held'), why: z.string(), seconds: z.number() }),
        ),
      })
      .describe(
        'The rehearsed calendar. It is held while a training is under way and until its version is proven and up, so that the speed of the machine does not decide which version answers which day; while a version is on trial the days go on',
      ),
    weeksLanded: count('Weekly files that arrived as data'),
    versions: z.array(versionReport).describe('Oldest first'),
    totals: z.object({
      trained: count('Versions trained'),
      released: count('Of them released'),
      rolledBack: count('Of them rolled back from their canary'),
      stopped: count('Of them stopped in preflight or shadow'),
      onTrial: count('Of them on trial when the demo ended'),
      waiting: count('Of them waiting for a person'),
      spare: count('Of them passed but not released'),
      rejected: count('Of them not let through the gate'),
      retired: count('Out of service by the end, of whatever outcome: cold or deleted'),
    }),
    triggers: triggersSchema,
    trials: z.array(trialSchema).describe('Oldest first'),
    alarms: z.array(alarmSchema).describe('Alarms that were raised, oldest first'),
    retirements: z.array(retirementSchema).describe('Versions that are on their way out of service'),
    freezes: z.array(freezeSchema).describe('Times in which nothing was released by itself'),
    serviceLevels: z.array(serviceLevelSchema).describe('What was promised and what is left of the budget'),
    fault: faultSchema,
    requests: z.object({
      sent: count('Prediction requests sent'),
      answered: count('Answered with 200, an id and a probability'),
      failed: count('Answered with anything else'),
      interrupted: count('Cut off before an answer'),
      sentWhileHeld: count('Of those sent: during a training or while its version was brought up'),
      sentOnTrial: count('Of those sent: while a version was on trial'),
      byOrigin: z
        .record(z.string(), count('Predictions'))
        .describe('In the lake: `live`; `shadow`, the copies; `fallback`, answers given where no version could'),
    }),
    faults: z.array(z.string()).describe('The first few requests that failed or were interrupted, with the reason'),
    labels: z.object({
      sent: count('Labels sent, each one simulated day after its prediction'),
      accepted: count('Of them accepted by the gateway'),
      matched: count('Live predictions in the lake that have their label'),
    }),
    predictions: z.object({
      acknowledged: count('Different prediction ids received with an answer'),
      inLake: count('Different live prediction ids in the lake'),
      lost: count('Acknowledged and not in the lake'),
      doubled: count('In the lake more than once'),
      different: count('In the lake with another version or probability than was answered'),
    }),
    quality: z
      .object({
        released: quality.describe('The answers that clients got'),
        frozen: quality
          .extend({
            version: z.string().describe('`model@number`'),
            unlike: count('Answers that it gave while it served and does not give now'),
          })
          .describe('What the first version says to the very same logged inputs'),
        improvement: z.number().describe('frozen.logLoss − released.logLoss'),
      })
      .describe('On every request that was answered'),
    leadTimes: z.object({
      count: count('Releases by training (the first included)'),
      medianMs: orNull(z.number(), 'From the end of training to the first live answer'),
      maxMs: orNull(z.number(), 'The slowest'),
    }),
    checks: z.array(z.object({ name: z.string(), passed: z.boolean(), why: z.string().describe('With the figures') })),
    passed: z.boolean().describe('Every check passed; the demo exits with 0'),
  })
  .describe("What 'npm run demo' did and measured")

export type DemoReport = z.infer<typeof demoReportSchema>
export type VersionReport = DemoReport['versions'][number]

/** As JSON Schema, draft 2020-12. */
export function demoReportJsonSchema(): unknown {
  return { title: 'demo-report.json', ...z.toJSONSchema(demoReportSchema) }
}
