import { argv } from 'node:process'
import type { IngestInput } from './ingest.ts'
import { runIngestJob } from './ingest.ts'

/**
 * Run by the crash test: an ingest that kills itself with SIGKILL when it comes by a step for the nth time.
 * `node ingest-child.ts <input as JSON> <step> <passes before>`
 */
const [, , input = '{}', step, passes = '0'] = argv
let left = Number(passes)
await runIngestJob(JSON.parse(input) as IngestInput, {
  reached(at) {
    if (at === step && left-- === 0) process.kill(process.pid, 'SIGKILL')
  },
})
