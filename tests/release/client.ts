import { nowMs, openLoop } from '../../src/testing/open-loop.ts'
import type { LoopAnswer } from '../../src/testing/open-loop.ts'

/**
 * The application: a process of its own that sends so many requests a second to one endpoint over connections that it
 * keeps, for as long as its parent lives, and tells its parent what came of each.
 *
 *   node client.ts <port> <endpoint> <requests per second> <connections>
 */

/** Times are ms since 1970. `version` is the header's; `fallback`, where there was one, its kind before it. */
export type Outcome = [dueMs: number, endedMs: number, version: string]

/** What was no success. */
export interface Mishap {
  kind: 'failed' | 'interrupted'
  dueMs: number
  endedMs: number
  why: string
}

export interface Seen {
  answered: Outcome[]
  mishaps: Mishap[]
  /** When this was sent. */
  atMs: number
  /** Nothing more will come. */
  isLast: boolean
}

const TELL_MS = 50
const [port, endpoint, perSecond, connections] = process.argv.slice(2)
let answered: Outcome[] = []
let mishaps: Mishap[] = []

const loop = openLoop({
  port: Number(port),
  path: `/v2/models/${endpoint}/infer`,
  perSecond: Number(perSecond),
  connections: Number(connections),
  body: () => {
    const data = [Math.random() * 4 - 2, Math.random() * 4 - 2]
    return JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 2], data }] })
  },
  onAnswer: take,
})

function take({ dueMs, endedMs, end, status, headers, why }: LoopAnswer): void {
  if (end === 'answered' && status === 200) {
    const version = headers['millrace-fallback'] ?? headers['millrace-model-version']
    answered.push([dueMs, endedMs, String(version)])
    return
  }
  // A connection that breaks before its answer was cut off; a late answer, or one that is no success, has failed.
  const kind = end === 'cut' ? 'interrupted' : 'failed'
  mishaps.push({ kind, dueMs, endedMs, why: end === 'answered' ? `${status}: ${why}` : why })
}

function tell(isLast: boolean): void {
  process.send?.({ answered, mishaps, atMs: nowMs(), isLast } satisfies Seen)
  answered = []
  mishaps = []
}

setInterval(() => tell(false), TELL_MS)
process.on('disconnect', () => process.exit(0))
process.on('message', () => void loop.stop().then(() => tell(true)))
