import type { Clock } from '../../kernel/clock.ts'
import { isFedOther } from '../../kernel/contract/fed.ts'
import { messageOf } from '../../kernel/errors.ts'
import { Cancellation } from '../front/cancellation.ts'
import type { InferCall } from '../front/data-plane.ts'
import type { DeploymentPools } from './deployment-pools.ts'
import { fedOf, withFed } from './fed-answer.ts'
import { forward, newForwardBudget } from './forward.ts'
import type { ForwardOutcome } from './forward.ts'
import type { PredictionKeeper } from './prediction-keeper.ts'
import { accountName } from './routing-table.ts'
import type { Mirror, TableEndpoint } from './routing-table.ts'
import type { Tell } from '../front/tell.ts'
import type { Account, Traffic } from './traffic.ts'
import { upstreamRequest } from './upstream-request.ts'

/** Copies beyond these limits are not sent, only counted as dropped: a shadow may cost evidence, never an answer. */
export interface MirrorLimits {
  /** Copies under way at once, per deployment. */
  inFlight: number
  /** Copies that wait for one of those, per deployment. */
  waiting: number
  /** Request bodies held for all copies together. */
  bytes: number
}

export const mirrorLimits: MirrorLimits = { inFlight: 16, waiting: 256, bytes: 32 * 1024 * 1024 }

/** An answer to a copy may have so many bytes, and so many times those of the live answer; a larger one is a failure. */
const ANSWER_BYTES = 1024 * 1024
const ANSWER_TIMES = 4

/** A live request that was answered with 2xx and logged. */
export interface LiveRequest {
  entry: TableEndpoint
  trial: string | null
  predictionId: string
  caller: string
  headers: InferCall['headers']
  body: Buffer
  jsonBytes: number | null
  /** Size of the live answer's body. */
  answerBytes: number
  /** False: the live answer is not in the log, so the copy's is not either: it is only counted. Absent: it is. */
  isLogged?: boolean
}

interface Copy extends LiveRequest {
  mirror: Mirror
  offeredMs: number
}

interface Lane {
  waiting: Copy[]
  inFlight: number
}

export interface MirrorParts {
  pools: DeploymentPools
  keeper: PredictionKeeper
  traffic: Traffic
  clock: Clock
  /** Uniform in [0, 1): draws which requests are copied. */
  random: () => number
  tell: Tell
  limits: MirrorLimits
}

/**
 * Sends copies of live requests to shadows once the live answer is on its way: offered → waits → sent → logged and
 * counted, or dropped at each of those. Each deployment has a lane of its own, so that one that hangs holds up no other.
 */
export class Mirrors {
  readonly #parts: MirrorParts
  readonly #lanes = new Map<string, Lane>()
  readonly #underWay = new Map<Cancellation, Promise<void>>()
  #bytes = 0
  #closed = false

  constructor(parts: MirrorParts) {
    this.#parts = parts
  }

  /** Copies the body, and returns: nothing is sent before the event loop has seen to everything that is due. */
  offer(live: LiveRequest): void {
    for (const mirror of live.entry.mirrors) {
      const { sharePercent } = mirror
      if (this.#closed || (sharePercent < 100 && this.#parts.random() * 100 >= sharePercent)) continue
      const copy = { ...live, mirror, offeredMs: this.#parts.clock.monotonicMs() }
      if (this.#wait(copy)) setImmediate(() => this.#pump(mirror.deployment.deploymentId))
      else this.#drop(copy)
    }
  }

  /** Request bodies that are held, in bytes. */
  get heldBytes(): number {
    return this.#bytes
  }

  /** Gives up everything, and waits until nothing of it can reach the log any more. */
  async close(): Promise<void> {
    this.#closed = true
    for (const lane of this.#lanes.values()) for (const copy of lane.waiting.splice(0)) this.#letGo(copy, true)
    for (const cancellation of this.#underWay.keys()) cancellation.cancel('shutdown')
    await Promise.all(this.#underWay.values())
  }

  /** The request's own bytes are part of a larger block that must be free to go: hence a copy, of exactly that size. */
  #wait(copy: Copy): boolean {
    const { limits } = this.#parts
    const lane = this.#lane(copy.mirror.deployment.deploymentId)
    if (lane.waiting.length >= limits.waiting || this.#bytes + copy.body.length > limits.bytes) return false
    const body = Buffer.allocUnsafeSlow(copy.body.length)
    copy.body.copy(body)
    this.#bytes += body.length
    lane.waiting.push({ ...copy, body })
    return true
  }

  #lane(deploymentId: string): Lane {
    const known = this.#lanes.get(deploymentId)
    if (known !== undefined) return known
    const lane: Lane = { waiting: [], inFlight: 0 }
    this.#lanes.set(deploymentId, lane)
    return lane
  }

  #pump(deploymentId: string): void {
    const lane = this.#lanes.get(deploymentId)
    if (lane === undefined) return
    while (lane.inFlight < this.#parts.limits.inFlight && !this.#closed) {
      const copy = lane.waiting.shift()
      if (copy === undefined) break
      if (this.#ageMs(copy) > copy.entry.route.timeoutMs) this.#letGo(copy, true)
      else this.#start(lane, copy)
    }
    if (lane.inFlight === 0 && lane.waiting.length === 0) this.#lanes.delete(deploymentId)
  }

  #start(lane: Lane, copy: Copy): void {
    const cancellation = new Cancellation()
    lane.inFlight += 1
    const sent = this.#send(copy, cancellation)
      .catch((error: unknown) => {
        this.#parts.tell('error', 'a copy failed inside the gateway', { error: messageOf(error) })
      })
      .finally(() => {
        lane.inFlight -= 1
        this.#underWay.delete(cancellation)
        this.#letGo(copy, false)
        this.#pump(copy.mirror.deployment.deploymentId)
      })
    this.#underWay.set(cancellation, sent)
  }

  async #send(copy: Copy, cancellation: Cancellation): Promise<void> {
    const { pools, clock } = this.#parts
    const { route } = copy.entry
    const { deployment } = copy.mirror
    const startedMs = clock.monotonicMs()
    const deadline = setTimeout(() => cancellation.cancel('deadline'), route.timeoutMs)
    const pool = pools.enter(deployment.deploymentId)
    try {
      const answerLimitBytes = ANSWER_BYTES + ANSWER_TIMES * copy.answerBytes
      const made = upstreamRequest(route, deployment, { ...copy, cancellation })
      const sent = made instanceof Promise ? await made : made
      if (sent === null) return this.#drop(copy)
      // What a table or a step adds comes back with the answer, and may be much more.
      const request = isFedOther(deployment.signature) ? sent : { ...sent, answerLimitBytes }
      const budget = newForwardBudget({ clock, deadlineMs: startedMs + route.timeoutMs })
      const outcome = withFed(deployment, await forward(pool.replicas, request, cancellation, budget))
      this.#conclude(copy, outcome, clock.monotonicMs() - startedMs)
    } finally {
      clearTimeout(deadline)
      pools.leave(pool)
    }
  }

  #conclude(copy: Copy, outcome: ForwardOutcome, latencyMs: number): void {
    const { keeper, traffic, clock } = this.#parts
    if (this.#closed || (outcome.kind === 'unavailable' && this.#isNoFailure(copy, outcome))) return this.#drop(copy)
    const status = statusOf(outcome)
    traffic.count({ ...accountOf(copy), status, rescued: false, pinnedBy: null, latencyMs }, clock.epochMs())
    if (outcome.kind !== 'answer' || status >= 300 || copy.isLogged === false) return
    const { trial, caller, body, jsonBytes, predictionId: shadowOf } = copy
    const name = accountName(copy.entry.route, copy.mirror.deployment)
    const facts = { ...name, origin: 'shadow', trial, shadowOf, caller, latencyMs, status } as const
    const { answer } = outcome
    const bodies = {
      request: body,
      response: answer.body,
      requestJsonBytes: jsonBytes,
      responseJsonBytes: answer.jsonBytes,
      ...fedOf(answer),
    }
    keeper.keepCopy(copy.entry.route, { ...facts, ...bodies })
  }

  /** It was not asked, or it has ended and its replicas with it. */
  #isNoFailure({ mirror }: Copy, { wasHeld }: ForwardOutcome & { kind: 'unavailable' }): boolean {
    return wasHeld === true || !this.#parts.pools.lists(mirror.deployment.deploymentId)
  }

  #letGo(copy: Copy, dropped: boolean): void {
    this.#bytes -= copy.body.length
    if (dropped) this.#drop(copy)
  }

  #drop(copy: Copy): void {
    this.#parts.traffic.countDropped(accountOf(copy))
  }

  #ageMs({ offeredMs }: Copy): number {
    return this.#parts.clock.monotonicMs() - offeredMs
  }
}

function accountOf({ entry, mirror, trial }: Copy): Account {
  const { endpoint } = entry.route
  return { endpoint, ...accountName(entry.route, mirror.deployment), origin: 'shadow', trial }
}

function statusOf(outcome: ForwardOutcome): number {
  if (outcome.kind === 'answer') return outcome.answer.status
  if (outcome.kind === 'cancelled') return 504
  return outcome.kind === 'died' ? 502 : 503
}
