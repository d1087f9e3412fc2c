import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Mishap, Order, Seen } from './client.ts'
import { until } from './until.ts'

/** A span in which the gateway could not answer, because it was killed or stopped. */
export interface Outage {
  fromMs: number
  /** A killed gateway cuts off what it is answering; one that is stopped in order answers it first. */
  kind: 'killed' | 'planned'
  /** Null: it is still under way. */
  untilMs: number | null
}

const explains = ({ fromMs, untilMs, kind }: Outage, why: Outage['kind'], { atMs }: Mishap) =>
  kind === why && atMs >= fromMs && (untilMs === null || atMs <= untilMs + TOLD_LATE_MS)

const CONNECTIONS = 6
/** So long after an outage a cut connection may be told, on a machine that is busy. */
const TOLD_LATE_MS = 1_000

/** The client's process, and everything that it has been promised. */
export class Traffic {
  /** Prediction id → when its request was sent, ms since 1970. */
  readonly acknowledged = new Map<string, number>()
  /** The label last acknowledged of each prediction. */
  readonly labelled = new Map<string, number>()
  readonly failed: Mishap[] = []
  readonly interrupted: Mishap[] = []
  sent = 0
  refused = 0
  private readonly outages: Outage[] = []
  private readonly child: ChildProcess
  private isQuiet = false
  private newest: [sentAtMs: number, answeredAtMs: number] = [0, 0]
  private longestMs = 0
  private lastAnswerMs = 0

  constructor(port: number, endpoint: string) {
    const entry = fileURLToPath(new URL('./client.ts', import.meta.url))
    this.child = fork(entry, [String(port), endpoint, String(CONNECTIONS)], { execArgv: [] })
    this.child.on('message', (message) => this.take(message as { seen: Seen; isQuiet: boolean }))
  }

  /** Returns once everything that was sent has been answered or lost. */
  async pause(): Promise<void> {
    this.isQuiet = false
    this.order({ kind: 'pause' })
    await until('the client to be quiet', () => this.isQuiet)
  }

  resume(): void {
    this.order({ kind: 'resume' })
    this.lastAnswerMs = 0
  }

  stop(): void {
    this.child.kill()
  }

  /** Times between two answers are watched from here on. */
  watchGaps(): void {
    this.longestMs = 0
    this.lastAnswerMs = 0
  }

  /** The longest time without any answer since `watchGaps`, in ms. */
  get longestGapMs(): number {
    return this.longestMs
  }

  beginOutage(fromMs: number, kind: Outage['kind']): Outage {
    const outage: Outage = { fromMs, kind, untilMs: null }
    this.outages.push(outage)
    return outage
  }

  /** Waits until a request that was sent after this moment has been answered. @returns when it was */
  async answeredAfter(atMs: number): Promise<number> {
    await until('an answer to a request of now', () => this.newest[0] > atMs)
    return this.firstAnswers.find(([sentAtMs]) => sentAtMs > atMs)?.[1] ?? this.newest[1]
  }

  /** Requests that were cut although no gateway was killed. */
  interruptedWithoutKill(): Mishap[] {
    return this.interrupted.filter((mishap) => !this.outages.some((outage) => explains(outage, 'killed', mishap)))
  }

  /** Requests that were refused although nobody had stopped Millrace: while it is brought up again, a gateway says 503. */
  failedWithoutStop(): Mishap[] {
    return this.failed.filter((mishap) => !this.outages.some((outage) => explains(outage, 'planned', mishap)))
  }

  private order(order: Order): void {
    this.child.send(order)
  }

  private readonly firstAnswers: [sentAtMs: number, answeredAtMs: number][] = []

  private take({ seen, isQuiet }: { seen: Seen; isQuiet: boolean }): void {
    this.isQuiet = isQuiet
    this.sent += seen.sent
    this.refused += seen.refused
    this.failed.push(...seen.failed)
    this.interrupted.push(...seen.interrupted)
    for (const [id, label] of seen.labelled) this.labelled.set(id, label)
    for (const answered of seen.answered) this.takeAnswer(...answered)
  }

  private takeAnswer(id: string, sentAtMs: number, answeredAtMs: number): void {
    this.acknowledged.set(id, sentAtMs)
    if (this.lastAnswerMs > 0) this.longestMs = Math.max(this.longestMs, answeredAtMs - this.lastAnswerMs)
    this.lastAnswerMs = answeredAtMs
    if (sentAtMs > this.newest[0]) this.newest = [sentAtMs, answeredAtMs]
    this.firstAnswers.push([sentAtMs, answeredAtMs])
    if (this.firstAnswers.length > 4_000) this.firstAnswers.splice(0, 2_000)
  }
}
