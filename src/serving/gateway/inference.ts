import { errorAnswer, retryAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import type { InferCall } from '../front/data-plane.ts'
import { note } from '../front/request-note.ts'
import { clientTimeoutMs } from './client-deadline.ts'
import { Deadlines } from './deadlines.ts'
import type { Deadline } from './deadlines.ts'
import { EndpointGuards } from './endpoint-guards.ts'
import type { Entry, GuardLimits } from './endpoint-guards.ts'
import { fallBack } from './fallback.ts'
import type { FellBack } from './fallback.ts'
import type { ForwardOutcome } from './forward.ts'
import type { Gathers } from './gather/gathers.ts'
import type { TableGather } from './gather/gather-table.ts'
import { answersOrWakes, findModel } from './metadata.ts'
import type { Found } from './metadata.ts'
import type { Mirrors } from './mirrors.ts'
import { failureAnswer, isLeftUnanswered, noVersion, OneRequest, passOn } from './one-request.ts'
import type { Account, Given, RequestParts } from './one-request.ts'
import type { Kept } from './prediction-keeper.ts'
import { keyOf } from './request-keys.ts'
import { accountName, chooseDeployment, chooseOther, drawMember, pinOf, ruleOf, stickyKey } from './routing-table.ts'
import type { ReadKey, RoutingTable, TableEndpoint } from './routing-table.ts'
import type { EndpointRoute, RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { UpstreamAnswer } from './upstream/upstream.ts'

export interface InferenceParts extends RequestParts {
  table: () => RoutingTable
  mirrors: Pick<Mirrors, 'offer'>
  gathers: Pick<Gathers, 'answer'>
  /** Uniform in [0, 1): draws the member of a split. */
  random: () => number
  limits?: GuardLimits
}

/** As a rule at once: a promise costs as much as a look-up, and each request would have several. */
type Concluded = Answer | null | Promise<Answer | null>

/** No weight had a say: such a request takes part in no trial. */
const UNDRAWN = { kind: 'chosen', trial: null, key: null } as const

/** A snapshot may change under a request, and again: more often than this it isn't followed. */
const ROUTINGS_MAX = 4

type FoundModel = Extract<Found, { kind: 'found' }>

interface Choice {
  kind: 'chosen'
  entry: TableEndpoint
  /** Who is asked. */
  deployment: RoutedDeployment
  /** Whom the weights named; in a trial the request is on its account, whoever answers. */
  drawn: RoutedDeployment
  /** The trial that the request takes part in; null also where no weight decided: for pins, rules and named versions. */
  trial: string | null
  /** It is for this version or none: the client named it, or is kept on it. */
  pinned: boolean
  /** What keeps the caller on the same member; null: drawn. */
  key: string | null
}

type Routing =
  | Choice
  | { kind: 'gather'; entry: TableEndpoint; gather: TableGather }
  | { kind: 'nobody'; entry: TableEndpoint }
  | { kind: 'disabled'; entry: TableEndpoint }
  | { kind: 'answer'; answer: Answer }

/**
 * One inference, from the choice of a deployment to the answer with its id: choose → forward → log → answer, and where
 * nobody can, the fallback. Knows nothing of HTTP but status and headers, so that other fronts and upstreams can share it.
 */
export class Inference {
  readonly guards: EndpointGuards
  readonly #parts: InferenceParts
  readonly #deadlines = new Deadlines()

  constructor(parts: InferenceParts) {
    this.#parts = parts
    this.guards = new EndpointGuards(parts.clock, parts.limits)
  }

  /** @returns null when the client left before its answer */
  infer(call: InferCall): Promise<Answer | null> {
    const table = this.#parts.table()
    const found = findModel(table, call.name, call.version)
    if (found.kind === 'answer') return Promise.resolve(found.answer)
    const { route } = found.entry
    this.#parts.traffic.countCaller(call.caller)
    const entered = this.guards.enter(table, route, call)
    if (entered.kind === 'refuse') return Promise.resolve(this.#refuse(route, entered.answer))
    const timeoutMs = Math.min(route.timeoutMs, clientTimeoutMs(call) ?? Infinity)
    return this.#follow(new OneRequest(call, this.#parts, timeoutMs), entered.entry, found)
  }

  /** Refused before anybody was drawn: on no version's account. */
  #refuse(route: EndpointRoute, answer: Answer): Answer {
    const { clock, traffic } = this.#parts
    const account = { ...noVersion(route), origin: 'live', trial: null } as const
    const served = { ...account, status: answer.status, rescued: false, pinnedBy: null, latencyMs: 0 }
    traffic.count(served, clock.epochMs())
    return answer
  }

  /** A deployment that goes away under the request is no failure: the routes of that moment say who answers instead. */
  async #follow(request: OneRequest, entered: Entry, found: FoundModel): Promise<Answer | null> {
    const { call } = request
    const deadline = this.#deadlines.set(call.cancellation, request.timeoutMs)
    try {
      let choice: Routing = this.#chooseOf(found, call)
      for (let routing = 1; ; routing++) {
        if (choice.kind === 'answer') return choice.answer
        if (choice.kind === 'gather') return await this.#parts.gathers.answer(choice.entry, choice.gather, request)
        if (choice.kind === 'disabled') return await answerDisabled(choice.entry, request)
        if (choice.kind === 'nobody') return await answerNobody(choice.entry, request)
        const outcome = await request.ask(choice.entry.route, choice.deployment)
        const next: Choice | null = routing < ROUTINGS_MAX ? this.#chooseAnother(choice, call, outcome) : null
        if (next === null) {
          const answer = this.#conclude(choice, request, outcome)
          return answer instanceof Promise ? await answer : answer
        }
        choice = next
      }
    } finally {
      const { retries } = request.budget
      if (retries > 0) note(call.cancellation, { retries })
      if (request.lasting === null) this.#end(entered, deadline)
      else void request.lasting.finally(() => this.#end(entered, deadline))
    }
  }

  #end(entered: Entry, deadline: Deadline): void {
    this.#deadlines.clear(deadline)
    this.guards.leave(entered)
  }

  #choose(call: InferCall): Routing {
    const found = findModel(this.#parts.table(), call.name, call.version)
    return found.kind === 'answer' ? found : this.#chooseOf(found, call)
  }

  /** In this order: the version that the client names, its pin, a gather, the first rule that fits, the weights. */
  #chooseOf(found: FoundModel, call: InferCall): Routing {
    const { pools, clock } = this.#parts
    const { entry } = found
    if (entry.route.disabled !== null) return { kind: 'disabled', entry }
    const pinned = found.pinned ?? (entry.pins.size === 0 ? null : pinOf(entry, call.caller, clock.epochMs()))
    if (pinned !== null) return { ...UNDRAWN, entry, deployment: pinned, drawn: pinned, pinned: true }
    if (entry.gather !== null) return { kind: 'gather', entry, gather: entry.gather }
    if (entry.rules.length === 0 && (entry.route.sticky ?? null) === null) return this.#draw(entry, null, true)
    const read: ReadKey = (key) => keyOf(call, key)
    const ruled = ruleOf(entry, read)
    if (ruled !== null && answersOrWakes(ruled, (id) => pools.answers(id)))
      return { ...UNDRAWN, entry, deployment: ruled, drawn: ruled, pinned: false }
    return this.#draw(entry, stickyKey(entry, read), ruled === null)
  }

  /** @param isTried - false: a rule meant another version, which can't answer now: no comparison is to count it */
  #draw(entry: TableEndpoint, key: string | null, isTried: boolean): Routing {
    const { pools, random } = this.#parts
    const trial = isTried ? entry.route.trial : null
    const draw = key === null ? random() : 0
    const answers = (id: string): boolean => pools.answers(id)
    const able = chooseDeployment(entry, draw, answers, key)
    const drawn = trial === null ? able : drawMember(entry, draw, key)
    if (able === null || drawn === null) return { kind: 'nobody', entry }
    const deployment = drawn === able || answers(drawn.deploymentId) ? drawn : able
    return { kind: 'chosen', entry, deployment, drawn, trial, pinned: false, key }
  }

  /** Who else may answer what this deployment could not. Null: nobody, or it answered. */
  #chooseAnother(failed: Choice, call: InferCall, outcome: ForwardOutcome): Choice | null {
    if (!isLeftUnanswered(outcome) || outcome.isFinal === true) return null
    const next = this.#choose(call)
    if (next.kind !== 'chosen') return null
    const deployment = this.#otherThan(failed.deployment, next)
    if (deployment === null) return null
    // A member that the routes have taken away, or another trial: the request begins anew, on nobody's account.
    const isSameTrial = failed.trial !== null && next.trial === failed.trial && isMember(next.entry, failed.drawn)
    return { ...next, deployment, drawn: isSameTrial ? failed.drawn : next.drawn }
  }

  #otherThan({ deploymentId }: RoutedDeployment, next: Choice): RoutedDeployment | null {
    if (next.deployment.deploymentId !== deploymentId) return next.deployment
    if (next.pinned) return null
    const { pools, random } = this.#parts
    return chooseOther(next.entry, deploymentId, random(), (id) => pools.answers(id), next.key)
  }

  #conclude(choice: Choice, request: OneRequest, outcome: ForwardOutcome): Concluded {
    if (outcome.kind === 'answer') return this.#answer(choice, request, outcome.answer)
    const failed = failureAnswer(choice.entry.route, outcome, request.timeoutMs)
    if (failed === null || choice.pinned || !isLeftUnanswered(outcome)) {
      const isOurs = outcome.kind === 'cancelled' && outcome.reason === 'shutdown'
      countLive(choice, request, failed?.status ?? null, isOurs)
      return failed
    }
    return this.#fallBack(choice, request, failed)
  }

  /** A client that named a version wants that one: only others get what stands in for it. */
  async #fallBack(choice: Choice, request: OneRequest, failed: Answer): Promise<Answer | null> {
    const entry = this.#currentEntry(request.call) ?? choice.entry
    const { answer, rescued } = endOf(await fallBack(entry, request, failed))
    request.count({ ...accountOf(choice), status: failed.status, rescued })
    return answer
  }

  #answer(choice: Choice, request: OneRequest, answered: UpstreamAnswer): Concluded {
    const { entry, deployment } = choice
    const passed = passOn(entry.route, deployment, answered)
    if (answered.status >= 300) {
      countLive(choice, request, answered.status, false)
      return passed
    }
    const trial = isOnItsAccount(choice) ? choice.trial : null
    const facts = { ...accountName(entry.route, deployment), origin: 'live', trial } as const
    const given = request.give(entry.route, answered, passed, facts)
    return given instanceof Promise
      ? given.then((later) => this.#given(choice, request, answered, later))
      : this.#given(choice, request, answered, given)
  }

  #given(choice: Choice, request: OneRequest, answered: UpstreamAnswer, { answer, kept }: Given): Concluded {
    const isGiven = kept.verdict.kind === 'give'
    countLive(choice, request, answer?.status ?? null, !isGiven)
    const isCopied = choice.entry.mirrors.length > 0 && !choice.pinned && isOnItsAccount(choice)
    if (answer === null || !isGiven || !isCopied) return answer
    return this.#copied(choice, request, answered, answer, kept)
  }

  /** The answer, with copies for shadows to follow where it was logged. */
  async #copied(
    choice: Choice,
    request: OneRequest,
    answered: UpstreamAnswer,
    answer: Answer,
    kept: Kept,
  ): Promise<Answer> {
    if (!(await kept.logged)) return answer
    const { entry } = choice
    const trial = isOnItsAccount(choice) ? choice.trial : null
    const { caller, headers, body, jsonBytes } = request.call
    const live = { entry, trial, predictionId: kept.predictionId, caller, headers, body, jsonBytes }
    return { ...answer, afterSent: () => this.#parts.mirrors.offer({ ...live, answerBytes: answered.body.length }) }
  }

  #currentEntry(call: InferCall): TableEndpoint | null {
    const found = findModel(this.#parts.table(), call.name, call.version)
    return found.kind === 'found' ? found.entry : null
  }
}

/** Every request gets the fallback, also one that names a version. Without one it is in no other count. */
async function answerDisabled(entry: TableEndpoint, request: OneRequest): Promise<Answer | null> {
  const { endpoint, disabled } = entry.route
  request.countPin(entry.route)
  const refusal = errorAnswer(503, `Endpoint '${endpoint}' is disabled: ${disabled?.why ?? 'no reason was given'}.`)
  const fellBack = await fallBack(entry, request, refusal)
  if (fellBack.kind === 'none') request.count({ ...noVersion(entry.route), origin: 'fallback', status: refusal.status })
  return endOf(fellBack).answer
}

async function answerNobody(entry: TableEndpoint, request: OneRequest): Promise<Answer | null> {
  const refusal = retryAnswer(`Endpoint '${entry.route.endpoint}' has no live version now.`)
  const { answer, rescued } = endOf(await fallBack(entry, request, refusal))
  request.count({ ...noVersion(entry.route), status: refusal.status, rescued })
  return answer
}

/**
 * @param status - of the answer; null: the client left
 * @param isOurs - the gateway itself is at fault, or its log: no word about the version, so the request is in no trial
 */
function countLive(choice: Choice, request: OneRequest, status: number | null, isOurs: boolean): void {
  const account = accountOf(choice)
  if (account.trial === null || isOurs) return request.count({ ...account, trial: null, status })
  if (isOnItsAccount(choice)) return request.count({ ...account, status })
  // It had to be answered by another one, which is a failure of the one that was drawn, whatever came of it.
  request.count({ ...account, status: 503, rescued: status !== null && status < 500 })
}

/** In a trial on the account of the version that was drawn, else on that of the one that was asked last. */
function accountOf({ entry, deployment, drawn, trial }: Choice): Account & { trial: string | null } {
  const { endpoint } = entry.route
  const { model, version } = accountName(entry.route, trial === null ? deployment : drawn)
  return { endpoint, model, version, trial }
}

/** Of a trial: whether the version that was drawn is the one that was asked. Without a trial it always is. */
function isOnItsAccount({ deployment, drawn, trial }: Choice): boolean {
  return trial === null || deployment.deploymentId === drawn.deploymentId
}

function isMember(entry: TableEndpoint, { deploymentId }: RoutedDeployment): boolean {
  return entry.choices.some((choice) => choice.deployment.deploymentId === deploymentId)
}

function endOf(fellBack: FellBack): { answer: Answer | null; rescued: boolean } {
  if (fellBack.kind === 'none') return { answer: fellBack.refusal, rescued: false }
  return { answer: fellBack.answer, rescued: fellBack.answer !== null && fellBack.answer.status < 500 }
}
