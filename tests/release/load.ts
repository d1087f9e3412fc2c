import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { quantile } from '../../src/testing/open-loop.ts'
import { until } from '../crash/until.ts'
import type { Mishap, Outcome, Seen } from './client.ts'

const CONNECTIONS = 64

/** The client's process, and what came of every request. */
export class Load {
  readonly answered: Outcome[] = []
  readonly mishaps: Mishap[] = []
  private readonly child: ChildProcess
  private toldMs = 0
  private isOver = false

  constructor(port: number, endpoint: string, perSecond: number) {
    const entry = fileURLToPath(new URL('./client.ts', import.meta.url))
    this.child = fork(entry, [String(port), endpoint, String(perSecond), String(CONNECTIONS)], { execArgv: [] })
    this.child.on('message', (message) => this.take(message as Seen))
  }

  /** Stops sending and waits for what is under way. */
  async stop(): Promise<void> {
    this.child.send('stop')
    await until('the client to have its last answer', () => this.isOver)
    this.child.kill()
  }

  kill(): void {
    this.child.kill()
  }

  get requests(): number {
    return this.answered.length + this.mishaps.length
  }

  /** From when a request was due to its answer. */
  latencyMs(share: number): number {
    return quantile(
      this.answered.map(([dueMs, endedMs]) => endedMs - dueMs),
      share,
    )
  }

  /**
   * How long after `fromMs` the last request was sent that somebody else than `by` answered. Waits until `by` has
   * answered everything for a while.
   */
  async takenOver(by: string, fromMs: number, quietMs = 1_500): Promise<number> {
    const last = (): number => this.answered.findLast(([, , who]) => who !== by)?.[0] ?? 0
    await until(`${by} to answer everything`, () => this.toldMs - Math.max(last(), fromMs) > quietMs)
    const lastMs = this.answered.reduce((max, [dueMs, , who]) => (who === by ? max : Math.max(max, dueMs)), 0)
    return Math.max(0, lastMs - fromMs)
  }

  private take({ answered, mishaps, atMs, isLast }: Seen): void {
    this.answered.push(...answered)
    this.mishaps.push(...mishaps)
    this.toldMs = atMs
    this.isOver ||= isLast
  }
}
