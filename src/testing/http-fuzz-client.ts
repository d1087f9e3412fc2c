import { connect } from 'node:net'
import type { NetConnectOpts, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../kernel/stats/random.ts'
import { openStrictParser } from '../serving/front/http/strict-parser.ts'
import { recordParser } from './parser-record.ts'

/** Sends streams of bytes to a server and looks at how it takes them. */
export interface FuzzOrder {
  where: NetConnectOpts
  streams: number
  connections: number
  random: Random
  make: (random: Random) => Buffer
  /**
   * - 'front': the server is an HTTP front, whose strict parser tells how many answers there must be
   * - 'any': it is another; an answer, its closing, or a moment of silence are all as good
   */
  server: 'front' | 'any'
  onProgress?: (streams: number) => void
}

export interface FuzzOutcome {
  streams: number
  /** Answers by status. */
  statuses: Map<number, number>
  /** Streams with what was wrong about what followed: no answer, or one of the 5xx. At most 20 are kept. */
  wrong: string[]
  wrongCount: number
}

const HANG_MS = 15_000
const WRONG_MAX = 20
/** Where nobody knows whether an answer will come. */
const SILENCE_MS = 10

export async function fuzzServer(order: FuzzOrder): Promise<FuzzOutcome> {
  const outcome: FuzzOutcome = { streams: 0, statuses: new Map(), wrong: [], wrongCount: 0 }
  await Promise.all(Array.from({ length: order.connections }, () => oneAfterAnother(order, outcome)))
  return outcome
}

async function oneAfterAnother(order: FuzzOrder, outcome: FuzzOutcome): Promise<void> {
  let line: Line | null = null
  while (outcome.streams < order.streams) {
    outcome.streams += 1
    if (outcome.streams % 10_000 === 0) order.onProgress?.(outcome.streams)
    const bytes = order.make(order.random)
    if (line === null || line.willClose) line = new Line(connect(order.where))
    const why = order.server === 'front' ? await tryFront(line, bytes) : await tryAny(line, bytes)
    for (const status of line.takeStatuses()) {
      outcome.statuses.set(status, (outcome.statuses.get(status) ?? 0) + 1)
      if (status >= 500) note(outcome, bytes, `was answered with ${status}: ${line.lastHeard}`)
    }
    if (why === 'again') continue
    line.socket.resetAndDestroy()
    line = null
    if (why !== 'done') note(outcome, bytes, why)
  }
  line?.socket.destroy()
}

/** @returns 'again': the connection can be used again; 'done': it can't; or what is wrong */
async function tryFront(line: Line, bytes: Buffer): Promise<string> {
  const { requests, refusal, place } = recordParser(openStrictParser, bytes)
  const expected = requests.length + (refusal === null ? 0 : 1)
  const why = await line.say(bytes, expected)
  if (why !== null) return why
  return place === 'between' && expected > 0 && !line.willClose ? 'again' : 'done'
}

/** A good request must be answered or cut off; of anything else nobody knows whether it will be. */
async function tryAny(line: Line, bytes: Buffer): Promise<string> {
  const { requests } = recordParser(openStrictParser, bytes)
  const why = await line.say(bytes, Math.min(1, requests.length), 'or closes')
  for (let heard = -1; why === null && line.heardBytes !== heard && !line.isClosed;) {
    heard = line.heardBytes
    await sleep(SILENCE_MS)
  }
  return why ?? 'done'
}

function note(outcome: FuzzOutcome, bytes: Buffer, why: string): void {
  outcome.wrongCount += 1
  if (outcome.wrong.length < WRONG_MAX) outcome.wrong.push(`${JSON.stringify(bytes.toString('latin1'))} ${why}`)
}

/** A connection with its ear. */
class Line {
  readonly socket: Socket
  isClosed = false
  /** The server has said so, or has done it. */
  willClose = false
  heardBytes = 0
  lastHeard = ''
  #statuses: number[] = []
  #answers = 0
  #onHeard: (() => void) | null = null

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.heardBytes += bytes.length
      this.lastHeard = bytes.toString('latin1')
      if (/^connection: close\r$/im.test(this.lastHeard)) this.willClose = true
      for (const [, status] of this.lastHeard.matchAll(/HTTP\/1\.1 (\d{3}) /g)) this.#take(Number(status))
      this.#onHeard?.()
    })
    socket.on('error', () => undefined) // 'close' follows
    socket.on('close', () => {
      this.isClosed = true
      this.willClose = true
      this.#onHeard?.()
    })
  }

  #take(status: number): void {
    if (status === 100) return
    this.#statuses.push(status)
    this.#answers += 1
  }

  takeStatuses(): number[] {
    return this.#statuses.splice(0)
  }

  /** @returns null once there are so many answers, or the server has closed after some, or at all; else what is wrong */
  say(bytes: Buffer, expected: number, orCloses: 'or closes' | '' = ''): Promise<string | null> {
    const goal = this.#answers + expected
    const before = this.#answers
    this.socket.write(bytes)
    if (expected === 0) return Promise.resolve(null)
    return new Promise((resolve) => {
      const timer = setTimeout(
        () => end(`got ${this.#answers - before} of ${expected} answers in ${HANG_MS} ms`),
        HANG_MS,
      )
      const end = (why: string | null): void => {
        clearTimeout(timer)
        this.#onHeard = null
        resolve(why)
      }
      this.#onHeard = () => {
        if (this.#answers >= goal) end(null)
        else if (this.isClosed) end(this.#answers > before || orCloses !== '' ? null : 'was closed without an answer')
      }
      this.#onHeard()
    })
  }
}
