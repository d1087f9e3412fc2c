import { z } from 'zod'
import { count, durationMs, why } from './schema-parts.ts'

/* The prediction log, and the lake that it ends in. */

export const reconciliationSchema = z
  .object({
    answered: count('Predictions answered with 2xx'),
    logged: count('Written to the spool'),
    sampledOut: count('Not logged, as declared'),
    dropped: count('Not logged because the disk was full (relaxed mode)'),
    inLake: count('Rows of requests in the lake (each once)'),
    inSpool: count('On disk, not yet in the lake'),
    labels: count('Labels received'),
    labelsMatched: count('Labels whose prediction is in the lake'),
    labelsUnmatched: count('Labels without a prediction (yet)'),
    lagMs: durationMs('Age of the oldest record that is not in the lake'),
    manifest: count('Newest manifest of the lake; 0: empty'),
    agrees: z
      .boolean()
      .describe(
        'answered = logged + sampled out + dropped, and logged = in the lake + in the spool; a difference counts when it stays',
      ),
    why: why.nullable().describe('Where it disagrees'),
  })
  .describe('Served = logged = in the lake')

export const queryResultSchema = z.object({
  columns: z.array(z.object({ name: z.string(), type: z.string().describe("DuckDB's type") })),
  rows: z.array(z.array(z.unknown())).describe('Values by column; whole numbers beyond 2^53 and decimals as text'),
  truncated: z.boolean().describe('True: there were more rows than the limit'),
  manifest: count('The manifest it was read at'),
  elapsedMs: durationMs('How long it took'),
})

export type Reconciliation = z.infer<typeof reconciliationSchema>
export type QueryResult = z.infer<typeof queryResultSchema>
