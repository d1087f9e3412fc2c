import { z } from 'zod'

/** Of an endpoint that asks several versions at once. */
export const gatherSchema = z.object({
  combine: z.enum(['all', 'mean', 'weighted', 'vote', 'first', 'module']),
  deadlineMs: z.number().describe('What has not answered by then is absent'),
  quorum: z.number().int().describe('So many answers at least'),
  members: z
    .array(
      z.object({
        version: z.string().describe('`model@number`'),
        state: z
          .enum(['member', 'joining', 'refused'])
          .describe(
            '`joining`: it gets copies; `refused`: it could not join, and stays out until it is released again',
          ),
        weight: z.number(),
        answered: z.number().int().describe('Copies that it has answered while it joined'),
        failed: z.number().int().describe('Of them failed'),
        needed: z.number().int().describe('Copies that it has to answer to join'),
        why: z.string(),
      }),
    )
    .describe('In the order in which they are asked'),
})

export type GatherDetails = z.infer<typeof gatherSchema>
