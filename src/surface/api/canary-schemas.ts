import { z } from 'zod'
import { atMs, atMsOrNull, count } from './schema-parts.ts'

/*
 * What is tried under live traffic, for people: the steps, who got how much, and the evidence of each comparison with
 * its numbers. Units as in schema-parts.ts.
 */

const durationMs = (what: string) => z.number().nonnegative().describe(`${what}, in ms of real time`)
const figure = (what: string) => z.number().nullable().describe(`${what}; null: not known`)

export const comparisonSchema = z
  .object({
    test: z.enum(['errors', 'latency p50', 'latency p99', 'prediction shift', 'loss']),
    verdict: z
      .enum(['harm', 'fine', 'open', 'off'])
      .describe(
        '`harm`: proven to be worse than allowed; `fine`: proven not to be; `open`: neither; `off`: not compared',
      ),
    why: z.string().describe('The reason, with its numbers'),
    challenger: figure("The challenger's own figure: share of errors, ms, mean loss"),
    champion: figure("The champion's"),
    value: figure('What is compared: ratio, stability index beyond chance, difference of losses'),
    low: figure('It is above this, at all looks together'),
    high: figure('It is not above this, at all looks together'),
    eValue: figure('Evidence of harm where the method is an e-process; proven from 1 ÷ alpha on'),
    limit: z.number().describe('The declared margin'),
    alpha: z.number().describe('Error of this comparison, over all looks'),
    challengerN: count('Requests of the challenger behind it, of the loss: labelled ones'),
    championN: count('Of the champion'),
  })
  .describe('One comparison of the challenger with the champion beside it; valid whenever it is read')

export const canaryLookSchema = z
  .object({
    decision: z
      .enum(['wait', 'next', 'promote', 'hold', 'rollBack'])
      .describe('`hold`: time is up without enough evidence, and a person is asked'),
    reason: z.string().describe('Why, as a word that scripts may compare: `soaking`, `fewRequests`, `harm` …'),
    why: z.string().describe('The reason, with its numbers'),
    missing: z.array(z.string()).describe('What must still come before it goes on'),
    tests: z.array(comparisonSchema),
    requests: count('That the challenger got in this trial'),
    labels: count('Labelled requests of the challenger'),
    elapsedMs: durationMs('Since the trial began'),
    measuredAtMs: atMsOrNull('When predictions and labels were last read from the lake'),
    atMs: atMs('When'),
  })
  .describe('What one look saw and decided')

const armSchema = z.object({
  requests: count('Drawn for it'),
  failed: count('Of those, failed, also where another version answered in the end'),
})

export const canaryStepSchema = z.object({
  trial: z.string().nullable().describe('Its mark in the prediction log, e.g. `trial-7`; null: has not begun'),
  kind: z.enum(['shadow', 'canary']),
  step: count('0 for the shadow, then from 1'),
  weightPercent: z.number().describe('Share of the live traffic; of a shadow: of the requests that are copied'),
  state: z.enum(['waiting', 'running', 'ended']),
  why: z.string().nullable().describe('Why it ended'),
  soakMs: durationMs('It takes at least so long'),
  minRequests: count('And the challenger must have answered so many'),
  minLabels: count('And so many must have labels; over the whole canary'),
  elapsedMs: durationMs('So long it has taken'),
  startedAtMs: atMsOrNull('Began'),
  endedAtMs: atMsOrNull('Ended'),
  challenger: armSchema,
  champion: armSchema,
})

export const canarySchema = z
  .object({
    endpoint: z.string(),
    model: z.string(),
    release: z.string().describe('e.g. `release-3`'),
    status: z.string().describe('Of the release: `shadowing`, `canary`, `held`, or what came of it'),
    why: z.string().nullable().describe('Why it has this status'),
    running: z.boolean(),
    challenger: z.string().describe('`model@number`'),
    champion: z.string().describe('`model@number`: whom it is compared with'),
    steps: z.array(canaryStepSchema).describe('Those that were, the one that runs, and those to come'),
    maxTimeMs: durationMs('Without enough evidence it is held after so long'),
    look: canaryLookSchema.nullable().describe('The last one; null: none yet'),
    looks: z.array(canaryLookSchema).describe('Those kept before, newest first'),
  })
  .describe('A release under live traffic, with its evidence')

export type CanaryView = z.infer<typeof canarySchema>
export type CanaryStep = z.infer<typeof canaryStepSchema>
export type CanaryLook = z.infer<typeof canaryLookSchema>
export type Comparison = z.infer<typeof comparisonSchema>
