import { Agent, request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'

/** One request of an open loop, however it ended. Times are ms since 1970, finer than Date.now(). */
export interface LoopAnswer {
  /** When it was to be sent: a late start counts as latency, so that a stall is not hidden by the requests it holds up. */
  dueMs: number
  endedMs: number
  /** `answered`: with whatever status. `cut`: the connection broke before the answer. `late`: none within the time-out. */
  end: 'answered' | 'cut' | 'late'
  status: number
  headers: IncomingHttpHeaders
  /** The body of what is no success, or why there is none. */
  why: string
}

export interface OpenLoopOptions {
  port: number
  path: string
  perSecond: number
  /** Connections at once, kept alive. */
  connections: number
  body: (n: number) => string
  /** What is due while so many are under way is left out: for tests of a machine that may be busy. */
  underWayMax?: number
  timeoutMs?: number
  onAnswer: (answer: LoopAnswer) => void
}

const TICK_MS = 4
const TIMEOUT_MS = 15_000

/** The same clock for all processes of the machine. */
export const nowMs = (): number => performance.timeOrigin + performance.now()

/**
 * Sends so many requests a second whether or not those before are answered, as many clients do that know nothing of
 * each other.
 * @returns stops sending, and waits for what is under way
 */
export function openLoop(options: OpenLoopOptions): { stop(): Promise<void> } {
  const { underWayMax = Infinity } = options
  const agent = new Agent({ keepAlive: true, maxSockets: options.connections, scheduling: 'fifo' })
  const startedMs = nowMs()
  const underWay = new Set<Promise<void>>()
  let sent = 0
  const sendDue = (): void => {
    const due = Math.floor(((nowMs() - startedMs) / 1_000) * options.perSecond)
    for (; sent < due; sent++) {
      if (underWay.size >= underWayMax) continue
      const dueMs = startedMs + (sent * 1_000) / options.perSecond
      const one = sendOne(agent, options, sent, dueMs).then(options.onAnswer)
      underWay.add(one)
      void one.finally(() => underWay.delete(one))
    }
  }
  const timer = setInterval(sendDue, TICK_MS)
  return {
    async stop() {
      clearInterval(timer)
      await Promise.all(underWay)
      agent.destroy()
    },
  }
}

function sendOne(agent: Agent, options: OpenLoopOptions, n: number, dueMs: number): Promise<LoopAnswer> {
  const { port, path, timeoutMs = TIMEOUT_MS } = options
  const body = options.body(n)
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  return new Promise((resolve) => {
    const end = (facts: Partial<LoopAnswer>): void => {
      clearTimeout(timer)
      resolve({ dueMs, endedMs: nowMs(), end: 'cut', status: 0, headers: {}, why: '', ...facts })
    }
    const asked = request({ host: '127.0.0.1', port, path, method: 'POST', agent, headers }, (response) => {
      const parts: Buffer[] = []
      const { statusCode: status = 0, headers: answered } = response
      response.on('data', (part: Buffer) => parts.push(part))
      response.once('error', (error) => end({ status, headers: answered, why: error.message }))
      response.once('end', () => {
        const why = status === 200 ? '' : Buffer.concat(parts).toString('utf8').slice(0, 300)
        end({ end: 'answered', status, headers: answered, why })
      })
    })
    const timer = setTimeout(() => {
      end({ end: 'late', why: `no answer within ${timeoutMs} ms` })
      asked.destroy()
    }, timeoutMs)
    asked.once('error', (error) => end({ why: error.message }))
    asked.end(body)
  })
}

/** @param share - 0.5 for the median; of no values NaN */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
