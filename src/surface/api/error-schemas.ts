import { z } from 'zod'

/** What a failed call answers with: a MillraceError's `toJSON`. */
export const errorSchema = z
  .object({
    code: z.string().describe('Stable code, `MR_…`, listed in docs/reference/errors.md'),
    kind: z.enum([
      'invalid',
      'unauthorized',
      'not-found',
      'conflict',
      'too-large',
      'exhausted',
      'unavailable',
      'internal',
    ]),
    message: z.string().describe('What failed, with the values'),
    fix: z.string().optional().describe('The next move'),
    retryable: z.boolean().describe('True when the same call may pass later without anybody changing anything'),
  })
  .describe('What failed and what to do next')

export type WireError = z.infer<typeof errorSchema>
