import { newPredictionId } from '../../../kernel/contract/prediction-id.ts'
import { messageOf } from '../../../kernel/errors.ts'
import type { Signature } from '../../../kernel/model/signature.ts'
import type { Tensor } from '../../../kernel/model/tensor.ts'
import { errorAnswer } from '../../front/answer.ts'
import type { Answer } from '../../front/answer.ts'
import type { InferCall } from '../../front/data-plane.ts'
import { fedOf } from '../fed-answer.ts'
import type { LiveRequest, Mirrors } from '../mirrors.ts'
import { failureAnswer, headerText, OneRequest } from '../one-request.ts'
import type { Given, RequestParts } from '../one-request.ts'
import { accountName } from '../routing-table.ts'
import type { RoutingTable, TableEndpoint } from '../routing-table.ts'
import type { Tell } from '../../front/tell.ts'
import { Asking, neededAnswers } from './asking.ts'
import { EventQueue, eventOf, wantsEvents } from './event-stream.ts'
import { memberEvent, refusedBy, wholeAnswer } from './gather-answer.ts'
import type { TableGather } from './gather-table.ts'
import { combineAnswers } from './combine-answers.ts'
import type { Answered, MemberOutcome } from './member-outcome.ts'
import type { ModuleCombiners } from './module-combiners.ts'

/** Tells the log how the bodies of a version are to be read. */
export type Declare = (model: string, version: string, signature: Signature) => void

export interface GatherParts extends RequestParts {
  table: () => RoutingTable
  mirrors: Pick<Mirrors, 'offer'>
  modules: ModuleCombiners
  declare: Declare
  tell: Tell
}

/** What became of one request: the answer, and what its members and the counts have to know of it. */
interface Concluded {
  answer: Answer | null
  /** Null: nothing that could be logged or copied. */
  given: Given | null
  status: number | null
}

/**
 * Endpoints that ask several versions at once: asked → enough have answered → combined → logged → answered, or 503 with
 * each member's reason. The answer is logged once under the endpoint's name, and each member's under its own.
 */
export class Gathers {
  readonly #parts: GatherParts
  /** What modules returned last, by endpoint: only they know it. */
  readonly #declared = new Map<string, string>()

  constructor(parts: GatherParts) {
    this.#parts = parts
  }

  /** @returns null when the client left before its answer */
  async answer(entry: TableEndpoint, gather: TableGather, request: OneRequest): Promise<Answer | null> {
    if (wantsEvents(request.call.headers['accept'])) return this.#stream(entry, gather, request)
    const asking = new Asking(entry, gather, request, this.#parts)
    await asking.over
    const { answer, given } = await this.#conclude(entry, asking, request)
    if (answer === null || given === null) return answer
    const afterSent = await this.#copies(entry, asking, request.call, given)
    return afterSent === null ? answer : { ...answer, afterSent }
  }

  async #conclude(
    entry: TableEndpoint,
    asking: Asking,
    request: OneRequest,
    predictionId?: string,
  ): Promise<Concluded> {
    const concluded = await this.#combined(entry, asking, request, predictionId)
    const { route } = entry
    const { status, given } = concluded
    const account = { endpoint: route.endpoint, model: route.model, version: asking.gather.version }
    request.count({ ...account, status })
    const isRescued = status !== null && status < 500
    for (const outcome of asking.outcomes) this.#countMember(entry, outcome, isRescued)
    if (given?.kept.verdict.kind === 'give') await this.#logMembers(entry, asking.answered, request.call, given)
    return concluded
  }

  async #combined(
    entry: TableEndpoint,
    asking: Asking,
    request: OneRequest,
    predictionId: string | undefined,
  ): Promise<Concluded> {
    const { route } = entry
    const { gather, answered } = asking
    const { call, timeoutMs } = request
    const ended = (): Concluded | null => {
      const { reason } = call.cancellation
      return reason === null ? null : refusal(failureAnswer(route, { kind: 'cancelled', reason }, timeoutMs))
    }
    const before = ended()
    if (before !== null) return before
    if (answered.length < neededAnswers(gather)) return refusal(refusedBy(entry, asking))
    const made = await combineAnswers(gather, answered, call, this.#parts.modules)
    // A module takes its time, and the client may have had enough of it.
    const after = ended()
    if (after !== null) return after
    const whole = made.kind === 'made' ? wholeAnswer(entry, asking, made.outputs, predictionId === undefined) : made
    if (whole.kind === 'failed')
      return refusal(errorAnswer(502, `Endpoint '${route.endpoint}' can't combine: ${whole.why}`))
    if (gather.route.combine.kind === 'module' && made.kind === 'made') this.#declareMade(entry, gather, made.outputs)
    const given = await request.give(route, whole.answer, whole.passed, {
      version: gather.version,
      origin: 'live',
      trial: null,
      ...(whole.absent.length > 0 && { absent: whole.absent }),
      ...(predictionId !== undefined && { predictionId }),
    })
    return { answer: given.answer, given, status: given.answer?.status ?? null }
  }

  #declareMade(
    { route }: TableEndpoint,
    { version, signature }: TableGather,
    made: Readonly<Record<string, Tensor>>,
  ): void {
    const outputs = Object.entries(made).map(([name, { datatype, shape }]) => ({
      name,
      datatype,
      shape: shape.map((size, axis) => (axis === 0 ? -1 : size)),
      columns: null,
    }))
    const text = JSON.stringify([version, outputs])
    if (this.#declared.get(route.endpoint) === text) return
    if (this.#declared.size >= DECLARED_MAX) this.#declared.clear()
    this.#declared.set(route.endpoint, text)
    this.#parts.declare(route.model, version, { inputs: signature.inputs, outputs })
  }

  /** The gather's own row counts the request once; these say how each member did. */
  #countMember({ route }: TableEndpoint, outcome: MemberOutcome, isRescued: boolean): void {
    const { traffic, clock } = this.#parts
    const { kind, member, latencyMs } = outcome
    const status = kind === 'answered' ? 200 : kind === 'absent' ? outcome.status : null
    const account = { endpoint: route.endpoint, ...accountName(route, member.deployment), origin: 'member' as const }
    const rescued = isRescued && status !== null && status >= 500
    traffic.count({ ...account, trial: null, status, rescued, pinnedBy: null, latencyMs }, clock.epochMs())
  }

  /** Each under its own model, so that what watches that model sees it; labels find them by the answer's id. */
  async #logMembers({ route }: TableEndpoint, answered: Answered[], call: InferCall, { kept }: Given): Promise<void> {
    if (!(await kept.logged)) return
    const { caller, body: request, jsonBytes: requestJsonBytes } = call
    for (const { member, answer, latencyMs } of answered) {
      const { model, version } = accountName(route, member.deployment)
      const facts = { version, origin: 'live' as const, trial: null, shadowOf: kept.predictionId, caller, latencyMs }
      const json = { requestJsonBytes, responseJsonBytes: answer.jsonBytes }
      const bodies = { request, response: answer.body, ...json, ...fedOf(answer) }
      this.#parts.keeper.keepCopy({ endpoint: route.endpoint, model }, { ...facts, status: answer.status, ...bodies })
    }
  }

  /** @returns what is to follow the answer; null: nothing */
  async #copies(
    entry: TableEndpoint,
    { answered }: Asking,
    call: InferCall,
    { answer, kept }: Given,
  ): Promise<(() => void) | null> {
    if (entry.mirrors.length === 0 || answer === null || kept.verdict.kind !== 'give') return null
    const { caller, headers, body, jsonBytes } = call
    const isLogged = await kept.logged
    const live = { entry, trial: null, predictionId: kept.predictionId, caller, headers, body, jsonBytes, isLogged }
    // A copy answers as a member does, which may be more than what is made of it.
    const answerBytes = Math.max(...answered.map((member) => member.answer.body.length))
    const copy: LiveRequest = { ...live, answerBytes }
    return () => this.#parts.mirrors.offer(copy)
  }

  /**
   * Server-sent events: `member` with each answer as it arrives, `absent` with each reason, then `answer`, or `error`.
   * The body is copied, since whoever carried it here takes it back when this returns.
   */
  #stream(entry: TableEndpoint, gather: TableGather, asked: OneRequest): Answer {
    const call = { ...asked.call, body: Buffer.from(asked.call.body) }
    const queue = new EventQueue(() => call.cancellation.cancel('client-gone'), call.body.length)
    const predictionId = newPredictionId(this.#parts.clock.calendarMs())
    const request = new OneRequest(call, this.#parts, asked.timeoutMs)
    const asking = new Asking(entry, gather, request, this.#parts, (outcome) => queue.push(memberEvent(entry, outcome)))
    asked.lasting = this.#streamed(entry, asking, request, predictionId)
      .then((event) => (event === null ? undefined : queue.push(event)))
      .catch((error: unknown) => {
        this.#parts.tell('error', 'a gather failed inside the gateway', { error: messageOf(error) })
        queue.push(eventOf('error', JSON.stringify({ status: 500, error: 'The gateway failed; its log says why.' })))
      })
      .finally(() => queue.end())
    const { endpoint } = entry.route
    const names = ['millrace-endpoint', headerText(endpoint), 'millrace-model-version', headerText(gather.version)]
    const headers = ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-store', ...names]
    headers.push('millrace-prediction-id', predictionId)
    return { status: 200, headers, body: Buffer.alloc(0), stream: queue }
  }

  async #streamed(
    entry: TableEndpoint,
    asking: Asking,
    request: OneRequest,
    predictionId: string,
  ): Promise<Buffer | null> {
    await asking.over
    const { answer, given } = await this.#conclude(entry, asking, request, predictionId)
    if (answer === null) return null
    if (given !== null) (await this.#copies(entry, asking, request.call, given))?.()
    const text = answer.body.toString('utf8')
    if (answer.status < 300) return eventOf('answer', text)
    const { error } = JSON.parse(text) as { error: string }
    return eventOf('error', JSON.stringify({ status: answer.status, error }))
  }
}

const DECLARED_MAX = 1_000

function refusal(answer: Answer | null): Concluded {
  return { answer, given: null, status: answer?.status ?? null }
}
