import { z } from 'zod'

/** What `millrace metrics` shows; Prometheus itself reads `GET /metrics`. */
export const metricsSchema = z
  .object({
    process: z.string().describe('Whose they are'),
    text: z.string().describe('As Prometheus reads them, text format 0.0.4'),
  })
  .describe('The metrics of one process, as they are now')

export type MetricsView = z.infer<typeof metricsSchema>
