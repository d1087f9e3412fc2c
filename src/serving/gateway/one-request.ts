import type { Clock } from '../../kernel/clock.ts'
import type { EndpointRoute, RoutedDeployment } from '../../kernel/contract/routing.ts'
import { errorAnswer, retryAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import type { InferAnswer, InferCall } from '../front/data-plane.ts'
import type { DeploymentPools } from './deployment-pools.ts'
import { fedOf, withFed } from './fed-answer.ts'
import { forward } from './forward.ts'
import type { ForwardOutcome } from './forward.ts'
import { ForwardBudget } from './forward-budget.ts'
import type { Kept, Prediction, PredictionKeeper } from './prediction-keeper.ts'
import type { Served, Traffic } from './traffic.ts'
import { upstreamRequest } from './upstream-request.ts'
import type { UpstreamAnswer } from './upstream/upstream.ts'

export interface RequestParts {
  pools: DeploymentPools
  keeper: PredictionKeeper
  traffic: Traffic
  clock: Clock
}

/** What is counted where nothing else is said: a live request, in no trial. */
export type Account = Pick<Served, 'endpoint' | 'model' | 'version'> & Partial<Pick<Served, 'origin' | 'trial'>>

export interface Given {
  /** Null: the client left. */
  answer: Answer | null
  kept: Kept
}

/** One request on its way: what it may still spend, and the acts that all ways of answering it share. */
export class OneRequest {
  readonly call: InferCall
  readonly budget: ForwardBudget
  /** What the client and the endpoint give it, whichever is less. */
  readonly timeoutMs: number
  /** Deployments that could not answer it: none as a rule, a few at most. */
  readonly failed: string[] = []
  /** It may have been computed by one that must not compute it twice: nobody else may be asked. */
  isFinal = false
  /** What goes on once the answer has begun: the request takes its place among the others for as long. Null: nothing. */
  lasting: Promise<void> | null = null
  readonly #parts: RequestParts
  readonly #startedMs: number

  /** @param timeoutMs - Infinity: somebody else ends it */
  constructor(call: InferCall, parts: RequestParts, timeoutMs = Infinity) {
    const { clock } = parts
    this.call = call
    this.timeoutMs = timeoutMs
    this.#parts = parts
    this.#startedMs = clock.monotonicMs()
    this.budget = new ForwardBudget({ clock, deadlineMs: this.#startedMs + timeoutMs })
  }

  async ask(route: EndpointRoute, deployment: RoutedDeployment): Promise<ForwardOutcome> {
    const { pools } = this.#parts
    const { cancellation } = this.call
    const pool = pools.enter(deployment.deploymentId)
    try {
      const made = upstreamRequest(route, deployment, this.call)
      const sent = made instanceof Promise ? await made : made // as a rule at once
      if (sent === null) return { kind: 'cancelled', reason: cancellation.reason ?? 'deadline' }
      const outcome = withFed(deployment, await forward(pool.replicas, sent, cancellation, this.budget))
      if (isLeftUnanswered(outcome)) {
        this.failed.push(deployment.deploymentId)
        if (outcome.isFinal === true) this.isFinal = true
      }
      return outcome
    } finally {
      pools.leave(pool)
    }
  }

  /**
   * An answered prediction gets an id and goes into the log; errors of the model server pass through as they are.
   * @param passed - gets the id
   */
  give(
    route: EndpointRoute,
    { status, body, jsonBytes, fed }: UpstreamAnswer,
    passed: Answer,
    facts: Pick<Prediction, 'version' | 'origin' | 'trial' | 'model' | 'absent' | 'predictionId'>,
  ): Given | Promise<Given> {
    const { caller, cancellation, body: request, jsonBytes: requestJsonBytes } = this.call
    const prediction: Prediction = {
      ...facts,
      shadowOf: null,
      caller,
      latencyMs: this.#ageMs(),
      status,
      request,
      response: body,
      requestJsonBytes,
      responseJsonBytes: jsonBytes,
    }
    if (fed !== undefined) Object.assign(prediction, fedOf({ fed }))
    const kept = this.#parts.keeper.keep(route, prediction, cancellation)
    return kept instanceof Promise // as a rule it is not: only what is logged durably waits
      ? kept.then((later) => this.#given(route, passed, later))
      : this.#given(route, passed, kept)
  }

  #given(route: EndpointRoute, passed: Answer, kept: Kept): Given {
    if (kept.verdict.kind === 'refuse') return { kept, answer: kept.verdict.answer }
    if (kept.verdict.kind === 'given-up') {
      const reason = this.call.cancellation.reason ?? 'deadline'
      return { kept, answer: failureAnswer(route, { kind: 'cancelled', reason }, this.timeoutMs) }
    }
    passed.headers.push('millrace-prediction-id', kept.predictionId)
    return { kept, answer: passed }
  }

  count(served: Account & Pick<Served, 'status'> & Partial<Served>): void {
    const { clock, traffic } = this.#parts
    const { version: named } = this.call
    const isNamed = named !== null && (named === served.version || named === `${served.model}@${served.version}`)
    const isPin = (served.origin ?? 'live') === 'live' && isNamed
    const pinnedBy = isPin ? this.call.caller : null
    const { endpoint, model, version, status, origin = 'live', trial = null, rescued = false } = served
    const latencyMs = this.#ageMs()
    traffic.count({ endpoint, model, version, origin, trial, status, rescued, pinnedBy, latencyMs }, clock.epochMs())
  }

  /** Who names a version needs it, also while something else answers. */
  countPin({ endpoint, model }: EndpointRoute): void {
    const { version, caller } = this.call
    if (version !== null)
      this.#parts.traffic.countPin({ endpoint, model, version, origin: 'live', trial: null }, caller)
  }

  #ageMs(): number {
    return this.#parts.clock.monotonicMs() - this.#startedMs
  }
}

/** The account of requests, or answers, that are no version's. */
export function noVersion({ endpoint, model }: EndpointRoute): Account {
  return { endpoint, model, version: '' }
}

export function isLeftUnanswered(
  outcome: ForwardOutcome,
): outcome is ForwardOutcome & { kind: 'unavailable' | 'died' } {
  return outcome.kind === 'unavailable' || outcome.kind === 'died'
}

const RETURNED = ['content-type', 'inference-header-content-length', 'content-encoding'] as const

/** @param deployment - null: no version answered */
export function passOn(
  route: EndpointRoute,
  deployment: RoutedDeployment | null,
  answered: UpstreamAnswer,
): InferAnswer {
  const headers = ['millrace-endpoint', headerText(route.endpoint)]
  if (deployment !== null) headers.push('millrace-model-version', headerText(deployment.version))
  for (const name of RETURNED) {
    const value = answered.headers.get(name)
    if (value !== undefined) headers.push(name, value)
  }
  return { status: answered.status, headers, body: answered.body, jsonBytes: answered.jsonBytes }
}

/** Names may hold any letters, headers may not. */
export function headerText(text: string): string {
  return /^[\x21-\x7e]*$/.test(text) ? text : encodeURIComponent(text)
}

/**
 * @param timeoutMs - what the request was given, where that is less than what the endpoint gives
 * @returns null when the client left
 */
export function failureAnswer(
  route: EndpointRoute,
  outcome: Exclude<ForwardOutcome, { kind: 'answer' }>,
  timeoutMs = route.timeoutMs,
): Answer | null {
  const { endpoint } = route
  switch (outcome.kind) {
    case 'unavailable':
      return retryAnswer(`Endpoint '${endpoint}' can't answer now: ${outcome.why}.`, outcome.retryAfterMs)
    case 'died':
      return errorAnswer(
        502,
        `Endpoint '${endpoint}' lost every replica that took this request; the last: ${outcome.why}.`,
      )
    case 'cancelled':
      if (outcome.reason === 'client-gone') return null
      if (outcome.reason === 'shutdown') return retryAnswer('The gateway is shutting down.')
      return errorAnswer(504, `Endpoint '${endpoint}' did not answer within ${timeText(timeoutMs, route.timeoutMs)}.`)
  }
}

function timeText(timeoutMs: number, routeMs: number): string {
  if (timeoutMs >= routeMs) return `${routeMs} ms`
  return `${timeoutMs} ms, the time that the request gives; the endpoint's own is ${routeMs} ms`
}
