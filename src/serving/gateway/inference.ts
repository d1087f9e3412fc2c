import type { IncomingHttpHeaders } from 'node:http'
import type { Clock } from '../../kernel/clock.ts'
import { newPredictionId } from '../../kernel/contract/prediction-id.ts'
import type { PredictionRecord } from '../../kernel/contract/prediction.ts'
import type { EndpointRoute, RoutedDeployment } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { errorAnswer, retryAnswer } from './answer.ts'
import type { Answer } from './answer.ts'
import type { Cancellation } from './cancellation.ts'
import type { DeploymentPools } from './deployment-pools.ts'
import { forward, newForwardBudget } from './forward.ts'
import type { ForwardBudget, ForwardOutcome } from './forward.ts'
import { findModel } from './metadata.ts'
import type { PredictionLog } from './prediction-log.ts'
import { chooseDeployment } from './routing-table.ts'
import type { RoutingTable, TableEndpoint } from './routing-table.ts'
import type { Tell } from './tell.ts'
import type { Traffic } from './traffic.ts'
import type { UpstreamAnswer, UpstreamRequest } from './upstream/upstream.ts'

export interface InferenceParts {
  table: () => RoutingTable
  pools: DeploymentPools
  log: PredictionLog
  traffic: Traffic
  clock: Clock
  /** Uniform in [0, 1): draws the member of a split, and which requests are logged. */
  random: () => number
  tell: Tell
}

export interface InferCall {
  /** The endpoint's or the model's name, as the client wrote it. */
  name: string
  version: string | null
  headers: IncomingHttpHeaders
  /** Whole and unpacked. */
  body: Buffer
  caller: string
  cancellation: Cancellation
}

/** A snapshot may change under a request, and again: more often than this it isn't followed. */
const ROUTINGS_MAX = 4

interface Choice {
  kind: 'chosen'
  entry: TableEndpoint
  deployment: RoutedDeployment
}

/**
 * One inference, from the choice of a deployment to the answer with its id: choose → forward → log → answer.
 * Knows nothing of HTTP but status and headers, so that other fronts and upstreams can share it.
 */
export class Inference {
  readonly #parts: InferenceParts

  constructor(parts: InferenceParts) {
    this.#parts = parts
  }

  /** @returns null when the client left before its answer */
  async infer(call: InferCall): Promise<Answer | null> {
    const startedMs = this.#parts.clock.monotonicMs()
    const found = findModel(this.#parts.table(), call.name, call.version)
    if (found.kind === 'answer') return found.answer
    const deadline = setTimeout(() => call.cancellation.cancel('deadline'), found.entry.route.timeoutMs)
    try {
      return await this.#follow(call, startedMs)
    } finally {
      clearTimeout(deadline)
    }
  }

  /** A deployment that goes away under the request is no failure: the routes of that moment say who answers instead. */
  async #follow(call: InferCall, startedMs: number): Promise<Answer | null> {
    const budget = newForwardBudget()
    for (let routing = 1; ; routing++) {
      const choice = this.#choose(call)
      if (choice.kind === 'answer') return choice.answer
      if (choice.kind === 'nobody') return this.#refuse(choice.entry.route, startedMs)
      const outcome = await this.#ask(choice, call, budget)
      if (routing < ROUTINGS_MAX && this.#otherMayAnswer(choice, call, outcome)) continue
      return this.#conclude(choice, call, outcome, startedMs)
    }
  }

  #choose(call: InferCall): Choice | { kind: 'nobody'; entry: TableEndpoint } | { kind: 'answer'; answer: Answer } {
    const { table, pools, random } = this.#parts
    const found = findModel(table(), call.name, call.version)
    if (found.kind === 'answer') return found
    const { entry } = found
    const deployment = found.pinned ?? chooseDeployment(entry, random(), (id) => pools.answers(id))
    return deployment === null ? { kind: 'nobody', entry } : { kind: 'chosen', entry, deployment }
  }

  async #ask({ entry, deployment }: Choice, call: InferCall, budget: ForwardBudget): Promise<ForwardOutcome> {
    const { pools } = this.#parts
    const pool = pools.enter(deployment.deploymentId)
    try {
      return await forward(pool.replicas, upstreamRequest(entry.route, deployment, call), call.cancellation, budget)
    } finally {
      pools.leave(pool)
    }
  }

  #otherMayAnswer({ deployment }: Choice, call: InferCall, outcome: ForwardOutcome): boolean {
    if (outcome.kind !== 'unavailable' && outcome.kind !== 'died') return false
    const next = this.#choose(call)
    return next.kind === 'chosen' && next.deployment.deploymentId !== deployment.deploymentId
  }

  async #conclude(choice: Choice, call: InferCall, outcome: ForwardOutcome, startedMs: number): Promise<Answer | null> {
    const latencyMs = this.#parts.clock.monotonicMs() - startedMs
    const answer =
      outcome.kind === 'answer'
        ? await this.#keep(choice, call, outcome.answer, latencyMs)
        : failure(choice.entry.route, outcome)
    const { endpoint, model } = choice.entry.route
    this.#count(endpoint, model, choice.deployment.version, answer?.status ?? null, startedMs)
    return answer
  }

  #refuse({ endpoint, model }: EndpointRoute, startedMs: number): Answer {
    this.#count(endpoint, model, '', 503, startedMs)
    return retryAnswer(`Endpoint '${endpoint}' has no live version now.`)
  }

  #count(endpoint: string, model: string, version: string, status: number | null, startedMs: number): void {
    const { clock, traffic } = this.#parts
    traffic.count({ endpoint, model, version, status, latencyMs: clock.monotonicMs() - startedMs }, clock.epochMs())
  }

  /** An answered prediction gets an id and goes into the log; errors of the model server pass through as they are. */
  async #keep(choice: Choice, call: InferCall, answered: UpstreamAnswer, latencyMs: number): Promise<Answer | null> {
    const { entry, deployment } = choice
    const passed = passOn(entry.route, deployment, answered)
    if (answered.status >= 300) return passed
    const atMs = this.#parts.clock.calendarMs()
    const predictionId = newPredictionId(atMs)
    passed.headers.push('millrace-prediction-id', predictionId)
    if (!this.#isLogged(entry.route)) {
      this.#parts.log.countSampledOut()
      return passed
    }
    const record: PredictionRecord = {
      kind: 'prediction',
      predictionId,
      endpoint: entry.route.endpoint,
      model: entry.route.model,
      version: deployment.version,
      origin: 'live',
      caller: call.caller,
      atMs,
      latencyMs,
      status: answered.status,
      request: call.body,
      response: answered.body,
    }
    if (entry.route.logMode === 'durable') return this.#logDurably(record, passed, call.cancellation, entry.route)
    this.#logRelaxed(record)
    return passed
  }

  #isLogged({ logMode, logSamplePercent }: EndpointRoute): boolean {
    if (logMode === 'off') return false
    return logSamplePercent >= 100 || this.#parts.random() * 100 < logSamplePercent
  }

  #logRelaxed(record: PredictionRecord): void {
    const { log, tell } = this.#parts
    log.append(record, 'relaxed').catch((error: unknown) => {
      tell('error', 'a prediction could not be logged', { predictionId: record.predictionId, error: messageOf(error) })
    })
  }

  /** Answered only once it is on disk. An answer that can't be kept is not given: it would be a prediction without a trace. */
  async #logDurably(
    record: PredictionRecord,
    answer: Answer,
    cancellation: Cancellation,
    route: EndpointRoute,
  ): Promise<Answer | null> {
    const gaveUp = new Promise<'gave-up'>((resolve) => cancellation.onCancel(() => resolve('gave-up')))
    try {
      const done = await Promise.race([this.#parts.log.append(record, 'durable'), gaveUp])
      if (done === 'logged') return answer
      if (done === 'gave-up') return failure(route, { kind: 'cancelled', reason: cancellation.reason ?? 'deadline' })
      return retryAnswer(
        `The prediction log of endpoint '${route.endpoint}' dropped the record, and its log mode is durable.`,
      )
    } catch (error) {
      this.#parts.tell('error', 'a prediction was refused because it could not be logged', { error: messageOf(error) })
      return retryAnswer(`Endpoint '${route.endpoint}' logs durably, and the log can't take it: ${messageOf(error)}`)
    } finally {
      cancellation.onCancel(null)
    }
  }
}

/** Headers that mean something to the model server; the others are the connection's or the client's own business. */
const FORWARDED = ['content-type', 'inference-header-content-length', 'traceparent', 'tracestate'] as const

function upstreamRequest(route: EndpointRoute, deployment: RoutedDeployment, call: InferCall): UpstreamRequest {
  let headerLines = ''
  for (const name of FORWARDED) {
    const value = call.headers[name]
    if (typeof value === 'string') headerLines += `${name}: ${value}\r\n`
  }
  const path = `/v2/models/${encodeURIComponent(route.model)}/versions/${encodeURIComponent(deployment.version)}/infer`
  return { method: 'POST', path, headerLines, body: call.body }
}

const RETURNED = ['content-type', 'inference-header-content-length', 'content-encoding'] as const

function passOn(route: EndpointRoute, deployment: RoutedDeployment, answered: UpstreamAnswer): Answer {
  const headers = [
    'millrace-endpoint',
    headerText(route.endpoint),
    'millrace-model-version',
    headerText(deployment.version),
  ]
  for (const name of RETURNED) {
    const value = answered.headers.get(name)
    if (value !== undefined) headers.push(name, value)
  }
  return { status: answered.status, headers, body: answered.body }
}

/** Names may hold any letters, headers may not. */
function headerText(text: string): string {
  return /^[\x21-\x7e]*$/.test(text) ? text : encodeURIComponent(text)
}

function failure(
  { endpoint, timeoutMs }: EndpointRoute,
  outcome: Exclude<ForwardOutcome, { kind: 'answer' }>,
): Answer | null {
  switch (outcome.kind) {
    case 'unavailable':
      return retryAnswer(`Endpoint '${endpoint}' can't answer now: ${outcome.why}.`)
    case 'died':
      return errorAnswer(
        502,
        `Endpoint '${endpoint}' lost every replica that took this request; the last: ${outcome.why}`,
      )
    case 'cancelled':
      if (outcome.reason === 'client-gone') return null
      if (outcome.reason === 'shutdown') return retryAnswer('The gateway is shutting down.')
      return errorAnswer(504, `Endpoint '${endpoint}' did not answer within ${timeoutMs} ms.`)
  }
}
