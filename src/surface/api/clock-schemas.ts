import { z } from 'zod'
import { atMs, why } from './schema-parts.ts'

/* Calendar time. */

export const clockSchema = z.object({
  calendarMs: atMs('Calendar time'),
  epochMs: atMs('Real time'),
  rehearsed: z.boolean().describe('True: the calendar is not the real one'),
  holds: z
    .array(z.object({ by: z.string(), why, sinceMs: atMs('Since (real time)') }))
    .describe('While there is one, calendar time stands still'),
})

export type ClockView = z.infer<typeof clockSchema>
