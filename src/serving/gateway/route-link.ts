import { followLines } from './control-link.ts'
import type { ControlAddress, LineStream } from './control-link.ts'
import type { RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { parseSnapshot } from './routing-snapshot.ts'
import type { Tell } from '../front/tell.ts'

/** The control plane sends a sign of life each second: three missed ones mean that it is gone. */
const SILENCE_MS = 3_000
const BACKOFF_MS = 50
const BACKOFF_MAX_MS = 1_000

/** Follows the control plane's routes for as long as the gateway lives, through restarts of the control plane. */
export class RouteLink {
  readonly #to: ControlAddress
  readonly #offer: (snapshot: RoutingSnapshot) => void
  readonly #tell: Tell
  #stream: LineStream | null = null
  #retry: NodeJS.Timeout | null = null
  #backoffMs = BACKOFF_MS
  #stopped = false
  #told = ''
  /** Routes come in; false: it serves from the last ones. */
  isFollowing = false

  /** @param offer - called with each snapshot, newer or not */
  constructor(to: ControlAddress, offer: (snapshot: RoutingSnapshot) => void, tell: Tell) {
    this.#to = to
    this.#offer = offer
    this.#tell = tell
  }

  start(): void {
    if (this.#stopped) return
    this.#stream = followLines(this.#to, '/internal/routes', SILENCE_MS, (line) => this.#take(line))
    void this.#stream.done.then((why) => this.#reconnect(why))
  }

  stop(): void {
    this.#stopped = true
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#stream?.stop()
  }

  #take(line: string): void {
    try {
      const snapshot = parseSnapshot(line, 'the control plane')
      this.#backoffMs = BACKOFF_MS
      this.#told = ''
      this.isFollowing = true
      this.#offer(snapshot)
    } catch (error) {
      this.#tell('error', 'a routing snapshot was refused', { error: messageOf(error) })
    }
  }

  #reconnect(why: string): void {
    this.isFollowing = false
    if (this.#stopped) return
    // Said once per reason: a control plane that is down for hours must not fill the log.
    if (why !== this.#told) this.#tell('warn', 'no routes from the control plane, serving from the last ones', { why })
    this.#told = why
    this.#retry = setTimeout(() => this.start(), this.#backoffMs)
    this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MAX_MS)
  }
}
