import { z } from 'zod'

/** Parts of demo-report.json about what closes the loop: triggers, trials, alarms, retirement, promises, faults. */

const count = (what: string) => z.number().int().nonnegative().describe(what)
const isoDate = (what: string) => z.iso.date().describe(what)
const orNull = <T extends z.ZodType>(schema: T, what: string) => schema.nullable().describe(what)
const figure = z.union([z.number(), z.string(), z.boolean(), z.null()])

export const triggersSchema = z
  .object({
    fired: z
      .record(z.string(), count('Runs it started'))
      .describe('By kind: `cron`, `alarm`, `newData`, `manual` (by hand)'),
    skipped: count('Times and alarms that started no run, e.g. because one was under way'),
    firings: z.array(
      z.object({
        at: isoDate('Calendar day'),
        trigger: z.string().describe('Its name'),
        kind: z.string(),
        why: z.string().describe('As Millrace gives it'),
        run: orNull(z.string(), 'The run it started'),
      }),
    ),
  })
  .describe('What started trainings')

const test = z.object({
  test: z.string().describe('errors, latency p50, latency p99, prediction shift, loss'),
  verdict: z.string().describe('`harm` proven, `fine` (proven no worse), `open`, `off`'),
  why: z.string().describe('With its figures'),
  value: orNull(z.number(), 'What is compared: a ratio, an index, a difference'),
  low: orNull(z.number(), 'Lower bound at all looks together'),
  high: orNull(z.number(), 'Upper bound at all looks together'),
  eValue: orNull(z.number(), 'Evidence against being no worse, where the method gives one'),
  limit: orNull(z.number(), 'What is allowed'),
})

const look = z.object({
  at: isoDate('Calendar day'),
  decision: z.string().describe('wait, next, promote, hold, rollBack'),
  why: z.string(),
  requests: count('Answered by the new version so far'),
  labels: count('Labels that have come for them'),
})

export const trialSchema = z
  .object({
    id: z.string(),
    release: z.string(),
    version: z.string().describe('The new one, `model@number`'),
    champion: z.string().describe('What it is compared with'),
    kind: z.enum(['shadow', 'canary']),
    weightPercent: z.number().describe('Of the requests: copied, or answered by the new version'),
    from: isoDate('Calendar day on which it began'),
    seconds: orNull(z.number(), 'Real time that it took; null: still open when the demo ended'),
    outcome: z.string().describe('The last decision, or `open`'),
    why: z.string(),
    looks: z.array(look).describe('Each time the decision or its reason changed'),
    tests: z.array(test).describe('The evidence at the last look'),
  })
  .describe('One comparison under live traffic: a shadow, or one step of a canary')

export const alarmSchema = z.object({
  id: z.string(),
  source: z.string().describe('The monitor, or `service-level/…`'),
  subject: z.string().describe('A column; empty where the alarm is about the whole model'),
  severity: z.string(),
  raised: isoDate('Calendar day'),
  resolved: z.boolean().describe('False: still open when the demo ended'),
  version: orNull(z.string(), 'The version it is about'),
  response: z.string().describe('tell, retrain, rollBack, freeze'),
  why: z.string().describe('With its figures'),
})

export const retirementSchema = z.object({
  version: z.string(),
  status: z.string().describe('How far it has gone: proposed, draining, stopped, cold, deleting, deleted'),
  policy: z.string().describe('Which policy wanted it gone'),
  why: z.string(),
  at: isoDate('Calendar day of its last step'),
})

export const freezeSchema = z.object({
  kind: z.string().describe('rollback, stability, alert, budget, person'),
  at: isoDate('Calendar day'),
  why: z.string(),
  ended: orNull(z.string(), 'Why it ended; null: it had not'),
})

export const serviceLevelSchema = z.object({
  name: z.string(),
  objective: z.number().describe('Share of good events that is promised'),
  attained: orNull(z.number(), 'Share of good events; null: there were none'),
  events: count('Events that count'),
  budgetLeft: orNull(z.number(), 'Share of the error budget that is left; below 0: more than all of it is spent'),
  why: z.string(),
})

export const faultSchema = z
  .object({
    name: z.string(),
    what: z.string().describe('What goes wrong'),
    onset: isoDate('Calendar day from which on it does'),
    expected: z.string().describe('Where it should be caught'),
    caughtBy: z.enum(['gate', 'shadow', 'canary', 'monitor', 'not caught']),
    check: orNull(z.string(), 'The check, comparison or monitor'),
    why: z.string().describe('What Millrace said, with its figures'),
    figures: z.record(z.string(), figure).describe('Of that check; of an alarm that goes on, as last measured'),
    version: orNull(z.string(), 'The version it spoke about'),
    faultyVersions: z.array(z.string()).describe('Trained by the faulty code'),
    caughtOn: orNull(z.iso.date(), 'Calendar day'),
    requestsUntilCaught: orNull(z.number().int(), 'Answered requests from its onset until then'),
    requestsAfterOnset: count('Answered requests from its onset to the end of the demo'),
    badAnswersUntilCaught: orNull(z.number().int(), 'Of them answers by a faulty version, or to wrong requests'),
    badAnswers: count('The same, to the end of the demo'),
    proofToRouteBackMs: orNull(
      z.number(),
      'Real time from the look that proved harm to the route without the faulty version; null: it had no traffic to give back',
    ),
    lastBadAnswerAfterProofMs: orNull(
      z.number(),
      'Real time from the proof to the last answer of a faulty version that a client got',
    ),
  })
  .nullable()
  .describe('The fault that was replayed (`--fault`); null: none was')
