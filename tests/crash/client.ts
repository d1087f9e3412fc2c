import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * The application: a process of its own that sends predictions over several connections, and labels for what was
 * answered, for as long as its parent lives. It tells its parent what it has seen with its own eyes.
 *
 *   node client.ts <port> <endpoint> <connections>
 */

/** Sent to the parent every few milliseconds. Times are ms since 1970. */
export interface Seen {
  sent: number
  answered: [predictionId: string, sentAtMs: number, answeredAtMs: number][]
  /** Predictions and labels: answered with a status that is no success, or not at all within the time-out. */
  failed: Mishap[]
  /** The connection was cut before the answer. */
  interrupted: Mishap[]
  /** Nobody listened: nothing was sent. */
  refused: number
  labelled: [predictionId: string, label: number][]
}

export interface Mishap {
  sentAtMs: number
  atMs: number
  why: string
}

export type Order = { kind: 'pause' } | { kind: 'resume' }

const TIMEOUT_MS = 15_000
const TELL_MS = 50
const PAUSE_MS_MAX = 25
const REFUSED_MS = 10
const LABEL_EVERY_MS = 100
const LABELS_AT_ONCE = 20

class Client {
  private readonly port: number
  private readonly endpoint: string
  private readonly agent: Agent
  private seen = nothingSeen()
  private unlabelled: string[] = []
  private paused = false
  private underWay = 0

  constructor(port: number, endpoint: string, connections: number) {
    this.port = port
    this.endpoint = endpoint
    this.agent = new Agent({ keepAlive: true, maxSockets: connections + 1 })
  }

  run(connections: number): void {
    for (let i = 0; i < connections; i++) void this.predictForever()
    void this.labelForever()
    setInterval(() => this.tell(), TELL_MS)
    process.on('message', (order: Order) => (this.paused = order.kind === 'pause'))
    process.on('disconnect', () => process.exit(0))
  }

  private tell(): void {
    const { seen } = this
    this.seen = nothingSeen()
    process.send?.({ seen, isQuiet: this.paused && this.underWay === 0 })
  }

  private async predictForever(): Promise<never> {
    for (;;) {
      await sleep(Math.random() * PAUSE_MS_MAX)
      if (!this.paused) await this.counted(() => this.predict())
    }
  }

  private async labelForever(): Promise<never> {
    for (;;) {
      await sleep(LABEL_EVERY_MS)
      if (!this.paused && this.unlabelled.length > 0) await this.counted(() => this.label())
    }
  }

  /** So that `isQuiet` is not said while something is on its way. */
  private async counted(work: () => Promise<void>): Promise<void> {
    this.underWay++
    await work()
    this.underWay--
  }

  private async predict(): Promise<void> {
    const value = (name: string) => ({ name, datatype: 'FP32', shape: [1, 1], data: [Math.random() * 4 - 2] })
    const body = JSON.stringify({ inputs: [value('a'), value('b')] })
    const sentAtMs = nowMs()
    const answer = await this.post(`/v2/models/${this.endpoint}/infer`, body)
    if (answer.kind === 'refused') return this.wasRefused()
    this.seen.sent++
    const id = answer.kind === 'answered' ? answer.predictionId : null
    if (answer.kind === 'answered' && answer.status === 200 && id !== null) {
      this.seen.answered.push([id, sentAtMs, nowMs()])
      this.unlabelled.push(id)
      return
    }
    const why = answer.kind === 'answered' ? `${answer.status}: ${answer.body}` : answer.why
    const list = answer.kind === 'interrupted' ? this.seen.interrupted : this.seen.failed
    list.push({ sentAtMs, atMs: nowMs(), why })
  }

  private async label(): Promise<void> {
    const ids = this.unlabelled.splice(0, LABELS_AT_ONCE)
    const labels = ids.map((id) => ({ id, label: Math.random() < 0.5 ? 0 : 1 }))
    const sentAtMs = nowMs()
    const answer = await this.post('/feedback', JSON.stringify({ labels }))
    if (answer.kind === 'answered' && answer.status === 202) {
      for (const { id, label } of labels) this.seen.labelled.push([id, label])
      return
    }
    // The same label may be sent again: it counts once.
    this.unlabelled.push(...ids)
    if (answer.kind === 'refused') return this.wasRefused()
    const why = answer.kind === 'answered' ? `${answer.status}: ${answer.body}` : answer.why
    const list = answer.kind === 'interrupted' ? this.seen.interrupted : this.seen.failed
    list.push({ sentAtMs, atMs: nowMs(), why })
  }

  private async wasRefused(): Promise<void> {
    this.seen.refused++
    await sleep(REFUSED_MS)
  }

  private post(path: string, body: string): Promise<Answer> {
    return new Promise((resolve) => {
      const outgoing = request({
        host: '127.0.0.1',
        port: this.port,
        path,
        method: 'POST',
        agent: this.agent,
        timeout: TIMEOUT_MS,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      })
      const lost = (error: NodeJS.ErrnoException) => resolve(outcomeOf(error))
      outgoing.once('timeout', () => outgoing.destroy(new TimedOut()))
      outgoing.once('error', lost)
      outgoing.once('response', (incoming) => {
        const chunks: Buffer[] = []
        const predictionId = incoming.headers['millrace-prediction-id']
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.once('error', lost)
        incoming.once('end', () =>
          resolve({
            kind: 'answered',
            status: incoming.statusCode ?? 0,
            predictionId: typeof predictionId === 'string' ? predictionId : null,
            body: Buffer.concat(chunks).toString('utf8').slice(0, 300),
          }),
        )
      })
      outgoing.end(body)
    })
  }
}

type Answer =
  | { kind: 'answered'; status: number; predictionId: string | null; body: string }
  | { kind: 'refused' }
  | { kind: 'interrupted'; why: string }
  | { kind: 'timedOut'; why: string }

class TimedOut extends Error {}

function outcomeOf(error: NodeJS.ErrnoException): Answer {
  if (error instanceof TimedOut) return { kind: 'timedOut', why: `no answer within ${TIMEOUT_MS} ms` }
  if (error.code === 'ECONNREFUSED') return { kind: 'refused' }
  return { kind: 'interrupted', why: error.message }
}

function nothingSeen(): Seen {
  return { sent: 0, answered: [], failed: [], interrupted: [], refused: 0, labelled: [] }
}

/** Finer than Date.now(), and the same clock for all processes of the machine. */
const nowMs = () => performance.timeOrigin + performance.now()

const [port, endpoint, connections] = process.argv.slice(2)
new Client(Number(port), endpoint!, Number(connections)).run(Number(connections))
