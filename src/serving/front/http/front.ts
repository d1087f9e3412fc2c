import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Socket } from 'node:net'
import { retryAnswer } from '../answer.ts'
import type { Tell } from '../tell.ts'
import { headOf } from './answer-bytes.ts'
import { Connection } from './connection.ts'
import type { ConnectionHost } from './connection.ts'
import type { DrainLimits, HttpFront, HttpFrontLimits, HttpHandler, ListenOn } from './http-front.ts'
import { openListener } from './listener.ts'
import type { Listener } from './listener.ts'
import { Output } from './output.ts'
import type { OpenParser } from './parser.ts'
import { peerOf } from './peer.ts'
import { openStrictParser } from './strict-parser.ts'

export const httpFrontLimits: HttpFrontLimits = {
  headBytes: 16 * 1024,
  headers: 100,
  headMs: 10_000,
  requestMs: 30_000,
  idleMs: 75_000,
  unreadMs: 30_000,
  connections: 8_192,
  requests: 4_096,
  pipelined: 16,
  bodiesBytes: 512 * 1024 * 1024,
  answersBytes: 1024 * 1024 * 1024,
  laggardMs: 5_000,
}

/**
 * @param limits - as `httpFrontLimits` where left out
 * @param openParser - another than the strict one only to measure and to compare
 */
export function openHttpFront(
  handler: HttpHandler,
  limits: Partial<HttpFrontLimits>,
  tell: Tell,
  openParser: OpenParser = openStrictParser,
): HttpFront {
  return new Front(handler, { ...httpFrontLimits, ...limits }, tell, openParser)
}

const TICK_MS_MAX = 1_000
const TICK_MS_MIN = 5
/** So long cancelled requests may take to answer that they are. */
const LAST_WORDS_MS = 100
/** How often a drain looks whether it is done. */
const SETTLING_MS = 10
/** So long sockets that were destroyed may take to say so. */
const CLOSE_MS = 1_000
/** Clients beyond the limit of connections that hear so at once; more are cut off without a word. */
const TURNED_AWAY_MAX = 256
/** A connection that was idle for so long may be closed for a new one where there is no room. */
const EXPENDABLE_MS = 1_000
const LOOKED_AT_MAX = 64
/** There is room for those that say why another can't be sent. */
const SMALL_ANSWER_BYTES = 4_096
const TURNED_AWAY = retryAnswer('The server holds as many connections as it may.')

class Front implements HttpFront, ConnectionHost {
  readonly handler: HttpHandler
  readonly limits: HttpFrontLimits
  readonly tell: Tell
  readonly output = new Output()
  readonly openParser: OpenParser
  date = new Date().toUTCString()
  underWay = 0
  bodiesBytes = 0
  answersBytes = 0
  isDraining = false
  closesIdle = false
  readonly #connections = new Set<Connection>()
  readonly #listeners: Listener[] = []
  readonly #turnedAway = new Set<Socket>()
  readonly #ticker: NodeJS.Timeout
  #scheduled: Connection[] = []
  #drained: Promise<{ abandoned: number }> | null = null
  #isClosed = false

  constructor(handler: HttpHandler, limits: HttpFrontLimits, tell: Tell, openParser: OpenParser) {
    this.openParser = openParser
    this.handler = handler
    this.limits = limits
    this.tell = tell
    const shortestMs = Math.min(limits.headMs, limits.requestMs, limits.idleMs, limits.unreadMs)
    const tickMs = Math.min(TICK_MS_MAX, Math.max(TICK_MS_MIN, shortestMs / 4))
    // Not in the timer itself: after a stall, what clients have sent meanwhile is read before anyone is found too slow.
    this.#ticker = setInterval(() => setImmediate(() => this.#tick()), tickMs)
    this.#ticker.unref()
  }

  get connections(): number {
    return this.#connections.size
  }

  async listen(where: ListenOn): Promise<number> {
    const listener = await openListener(where, this.limits, this.tell, (socket) => this.#accept(socket, where))
    this.#listeners.push(listener)
    return listener.port
  }

  drain(limits: DrainLimits): Promise<{ abandoned: number }> {
    this.#drained ??= this.#drain(limits)
    return this.#drained
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#ticker)
    const closed = this.#listeners.map((listener) => listener.stop())
    for (const connection of this.#connections) {
      connection.cancel('shutdown')
      connection.destroy()
    }
    for (const socket of this.#turnedAway) socket.destroy()
    await Promise.all(closed)
    const giveUpAtMs = performance.now() + CLOSE_MS
    while (this.#connections.size > 0 && performance.now() < giveUpAtMs) await nextTurn()
  }

  schedule(connection: Connection): void {
    if (connection.isScheduled) return
    connection.isScheduled = true
    if (this.#scheduled.push(connection) === 1) process.nextTick(this.#flushScheduled)
  }

  forget(connection: Connection): void {
    this.#connections.delete(connection)
  }

  hasRoomFor(bytes: number): boolean {
    const { answersBytes, laggardMs } = this.limits
    if (bytes <= SMALL_ANSWER_BYTES || this.answersBytes + bytes <= answersBytes) return true
    const nowMs = performance.now()
    const laggards = [...this.#connections].filter((connection) => connection.sendsForMs(nowMs) >= laggardMs)
    laggards.sort((a, b) => b.sendsForMs(nowMs) - a.sendsForMs(nowMs))
    for (const laggard of laggards) {
      laggard.cutOff()
      if (this.answersBytes + bytes <= answersBytes) return true
    }
    return false
  }

  readonly #flushScheduled = (): void => {
    const scheduled = this.#scheduled
    this.#scheduled = []
    for (const connection of scheduled) {
      connection.isScheduled = false
      connection.flush()
    }
  }

  #accept(socket: Socket, where: ListenOn): void {
    if (this.#isClosed) return void socket.destroy()
    const isFull = this.#connections.size >= this.limits.connections
    if (isFull && !this.#makeRoom()) return this.#turnAway(socket)
    this.#connections.add(new Connection(socket, peerOf(socket, where), this))
  }

  /** Who asks goes before who is idle. @returns false: nobody that was looked at is, for long enough */
  #makeRoom(): boolean {
    const nowMs = performance.now()
    let looked = 0
    for (const connection of this.#connections) {
      if ((looked += 1) > LOOKED_AT_MAX) return false
      this.#connections.delete(connection)
      if (connection.idleForMs(nowMs) >= EXPENDABLE_MS) {
        connection.destroy()
        return true
      }
      this.#connections.add(connection) // at the end: others are looked at next time
    }
    return false
  }

  #turnAway(socket: Socket): void {
    socket.on('error', () => undefined) // it leaves by itself
    if (this.#turnedAway.size >= TURNED_AWAY_MAX) return void socket.destroy()
    this.#turnedAway.add(socket)
    socket.on('close', () => this.#turnedAway.delete(socket))
    socket.resume()
    socket.end(headOf(TURNED_AWAY, 'length', null, this.date) + TURNED_AWAY.body.toString('latin1'), 'latin1')
  }

  #tick(): void {
    const nowMs = performance.now()
    this.date = new Date().toUTCString()
    for (const connection of this.#connections) connection.check(nowMs)
    for (const socket of this.#turnedAway) socket.destroy()
  }

  async #drain({ idleMs, limitMs, lingerMs = 0 }: DrainLimits): Promise<{ abandoned: number }> {
    this.isDraining = true
    if (lingerMs > 0) await sleep(lingerMs)
    const beganMs = performance.now()
    const closed = Promise.all(this.#listeners.map((listener) => listener.stop()))
    await this.#quiet(Math.min(idleMs, limitMs), beganMs + limitMs)
    this.closesIdle = true
    for (const connection of this.#connections) if (connection.isIdle) connection.sayFarewell()
    await this.#settled(beganMs + limitMs)
    const abandoned = this.underWay
    for (const connection of this.#connections) connection.cancel('shutdown')
    if (abandoned > 0) await this.#settled(performance.now() + LAST_WORDS_MS)
    await this.close()
    await closed
    return { abandoned }
  }

  /** Waits as long, not counting time in which this process stood still: what came meanwhile must be read first. */
  async #quiet(idleMs: number, untilMs: number): Promise<void> {
    let leftMs = idleMs
    for (let nowMs = performance.now(); leftMs > 0 && nowMs < untilMs && !this.#isSettled();) {
      await sleep(SETTLING_MS)
      await nextTurn() // timers come before what was received
      const thenMs = nowMs
      nowMs = performance.now()
      leftMs -= Math.min(nowMs - thenMs, 2 * SETTLING_MS)
    }
  }

  /** Waits until nothing is under way and no connection is open, or the time is over. */
  async #settled(untilMs: number): Promise<void> {
    while (performance.now() < untilMs && !this.#isSettled()) await sleep(SETTLING_MS)
  }

  #isSettled(): boolean {
    if (this.underWay > 0) return false
    for (const connection of this.#connections) if (!connection.isOver) return false
    return true
  }
}
