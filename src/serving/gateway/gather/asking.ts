import type { Clock } from '../../../kernel/clock.ts'
import type { EndpointRoute } from '../../../kernel/contract/routing.ts'
import { messageOf } from '../../../kernel/errors.ts'
import { Cancellation } from '../../front/cancellation.ts'
import type { CancelReason } from '../../front/cancellation.ts'
import type { InferCall } from '../../front/data-plane.ts'
import type { DeploymentPools } from '../deployment-pools.ts'
import { withFed } from '../fed-answer.ts'
import { forward, newForwardBudget } from '../forward.ts'
import type { ForwardOutcome } from '../forward.ts'
import { isLeftUnanswered } from '../one-request.ts'
import type { OneRequest } from '../one-request.ts'
import { accountName } from '../routing-table.ts'
import type { RoutingTable, TableEndpoint } from '../routing-table.ts'
import type { Tell } from '../../front/tell.ts'
import { upstreamRequest } from '../upstream-request.ts'
import type { TableGather, TableMember } from './gather-table.ts'
import { memberOutcome } from './member-outcome.ts'
import type { Answered, MemberOutcome } from './member-outcome.ts'

export interface AskingParts {
  table: () => RoutingTable
  pools: DeploymentPools
  clock: Clock
  tell: Tell
}

/** A client that waits for less than the gather gets what is there then, with a little time left to bring it. */
const SHARE_OF_TIME = 0.9

/** A member that is gone from the routes is followed to its successor, and on, but not for ever. */
const SUCCESSORS_MAX = 4

/**
 * One request at all members at once. Each has its own pool, tries and budget, so that none waits for, or fails with,
 * another. Over once nothing more is to be had: all have ended, or the first one answered where that is enough, or too
 * few are left for the quorum, or the deadline has passed.
 */
export class Asking {
  readonly gather: TableGather
  readonly over: Promise<void>
  readonly #route: EndpointRoute
  readonly #call: InferCall
  readonly #parts: AskingParts
  readonly #onEnded: (outcome: MemberOutcome) => void
  readonly #slots: Slot[]
  readonly #asked = new Set<string>()
  readonly #startedMs: number
  readonly #deadlineMs: number
  #first: Answered | null = null
  #stopped: CancelReason | null = null
  #finish: () => void = () => undefined

  /** Starts at once. */
  constructor(
    { route }: TableEndpoint,
    gather: TableGather,
    { call, timeoutMs }: Pick<OneRequest, 'call' | 'timeoutMs'>,
    parts: AskingParts,
    onEnded: (outcome: MemberOutcome) => void = () => undefined,
  ) {
    this.gather = gather
    this.#route = route
    this.#call = call
    this.#parts = parts
    this.#onEnded = onEnded
    this.#startedMs = parts.clock.monotonicMs()
    this.#deadlineMs = Math.min(gather.route.deadlineMs, timeoutMs * SHARE_OF_TIME)
    this.#slots = gather.members.map((member) => ({ member, outcome: null, cancellation: null }))
    this.over = this.#run()
  }

  /** Those whose answers count, in the members' order. */
  get answered(): Answered[] {
    if (this.gather.route.combine.kind === 'first') return this.#first === null ? [] : [this.#first]
    return this.#slots.flatMap(({ outcome }) => (outcome?.kind === 'answered' ? [outcome] : []))
  }

  /** How each member's part has ended so far; who is still at it is not waited for, once it is over. */
  get outcomes(): MemberOutcome[] {
    const latencyMs = this.#ageMs()
    return this.#slots.map(({ member, outcome }) => outcome ?? { kind: 'released', member, latencyMs })
  }

  async #run(): Promise<void> {
    const { cancellation } = this.#call
    const deadline = setTimeout(() => this.#stop('deadline'), this.#deadlineMs)
    try {
      await new Promise<void>((resolve) => {
        this.#finish = resolve
        for (const { member } of this.#slots) this.#asked.add(member.deploymentId)
        for (const slot of this.#slots) void this.#fill(slot)
        cancellation.onCancel(() => this.#stop(cancellation.reason ?? 'deadline'))
        if (this.#isOver()) resolve()
      })
    } finally {
      clearTimeout(deadline)
      cancellation.onCancel(null)
      this.#finish = () => undefined
      this.#stop('client-gone')
    }
  }

  #isOver(): boolean {
    const pending = this.#slots.filter(({ outcome }) => outcome === null).length
    if (pending === 0) return true
    if (this.gather.route.combine.kind === 'first') return this.#first !== null
    return this.answered.length + pending < neededAnswers(this.gather)
  }

  #stop(reason: CancelReason): void {
    this.#stopped ??= reason
    for (const { cancellation } of this.#slots) cancellation?.cancel(reason)
  }

  async #fill(slot: Slot): Promise<void> {
    let outcome: MemberOutcome
    try {
      outcome = await this.#askWithSuccessors(slot)
    } catch (error) {
      const { member } = slot
      const facts = { member: member.name, error: messageOf(error) }
      this.#parts.tell('error', 'a member of a gather failed inside the gateway', facts)
      const why = 'the gateway failed on it; its log says why'
      outcome = { kind: 'absent', member, why, status: 500, answer: null, latencyMs: this.#ageMs() }
    }
    slot.outcome = outcome
    if (outcome.kind === 'answered') this.#first ??= outcome
    this.#onEnded(outcome)
    if (this.#isOver()) this.#finish()
  }

  async #askWithSuccessors(slot: Slot): Promise<MemberOutcome> {
    for (let turn = 0; ; turn++) {
      const outcome = await this.#ask(slot)
      const next = turn < SUCCESSORS_MAX && isLeftUnanswered(outcome) ? this.#successor(slot.member) : null
      if (next === null) return memberOutcome(slot.member, outcome, this.#ageMs(), this.#deadlineMs)
      slot.member = next
    }
  }

  async #ask(slot: Slot): Promise<ForwardOutcome> {
    if (this.#stopped !== null) return { kind: 'cancelled', reason: this.#stopped }
    const { pools, clock } = this.#parts
    const { deploymentId, deployment } = slot.member
    slot.cancellation = new Cancellation()
    const pool = pools.enter(deploymentId)
    try {
      const { headers, body, jsonBytes } = this.#call
      const { cancellation } = slot
      const made = upstreamRequest(this.#route, deployment, { headers, body, jsonBytes, cancellation })
      const sent = made instanceof Promise ? await made : made
      if (sent === null) return { kind: 'cancelled', reason: cancellation.reason ?? 'deadline' }
      const budget = newForwardBudget({ clock, deadlineMs: this.#startedMs + this.#deadlineMs })
      return withFed(deployment, await forward(pool.replicas, sent, cancellation, budget))
    } finally {
      pools.leave(pool)
    }
  }

  /** The routes have changed under the request: whoever is there for this member's model now, and was not asked. */
  #successor(gone: TableMember): TableMember | null {
    const now = this.#parts.table().byName.get(this.#route.endpoint)?.gather ?? null
    if (now === null || now.members.some((m) => m.deploymentId === gone.deploymentId)) return null
    const modelOf = ({ deployment }: TableMember): string => accountName(this.#route, deployment).model
    const next = now.members.find((m) => !this.#asked.has(m.deploymentId) && modelOf(m) === modelOf(gone))
    if (next === undefined) return null
    this.#asked.add(next.deploymentId)
    return next
  }

  #ageMs(): number {
    return this.#parts.clock.monotonicMs() - this.#startedMs
  }
}

interface Slot {
  member: TableMember
  /** Null: it is still at it. */
  outcome: MemberOutcome | null
  cancellation: Cancellation | null
}

/** Without these there is no answer. */
export function neededAnswers({ route }: TableGather): number {
  return route.combine.kind === 'first' ? 1 : route.quorum
}
