import type { Clock } from '../../kernel/clock.ts'
import { newPredictionId } from '../../kernel/contract/prediction-id.ts'
import type { PredictionRecord } from '../../kernel/contract/prediction.ts'
import type { EndpointRoute } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { retryAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import type { Cancellation } from '../front/cancellation.ts'
import type { PredictionLog } from './prediction-log.ts'
import type { Tell } from '../front/tell.ts'

/** What goes into the log of an answered inference; its time is that of the call, and so is its id unless given. */
export type Prediction = Partial<Pick<PredictionRecord, 'model' | 'absent' | 'predictionId' | 'fed' | 'fedJsonBytes'>> &
  Pick<
    PredictionRecord,
    | 'version'
    | 'origin'
    | 'trial'
    | 'shadowOf'
    | 'caller'
    | 'latencyMs'
    | 'status'
    | 'request'
    | 'response'
    | 'requestJsonBytes'
    | 'responseJsonBytes'
  >

export interface Kept {
  predictionId: string
  /** What the log makes of the answer: given, or, in durable mode, refused because the log can't keep it. */
  verdict: { kind: 'give' } | { kind: 'refuse'; answer: Answer } | { kind: 'given-up' }
  /** Whether the record is in the log; false also where the sample left it out. */
  logged: Promise<boolean>
}

const GIVE = { kind: 'give' } as const
const NOT_LOGGED = Promise.resolve(false)
const LOGGED = Promise.resolve(true)

export interface KeeperParts {
  log: PredictionLog
  clock: Clock
  /** Uniform in [0, 1): draws which requests are logged. */
  random: () => number
  tell: Tell
}

/** Gives each answered prediction its id, and the log what it is to have of it. */
export class PredictionKeeper {
  readonly #parts: KeeperParts
  /** What the log said last, and whether that means that the record is in it. */
  #appended: Promise<'logged' | 'dropped'> | null = null
  #logged = NOT_LOGGED

  constructor(parts: KeeperParts) {
    this.#parts = parts
  }

  /** At once, but for what is logged durably. */
  keep(route: EndpointRoute, prediction: Prediction, cancellation: Cancellation): Kept | Promise<Kept> {
    const record = this.#record(route, prediction)
    const { predictionId } = record
    if (!this.#isLogged(route)) {
      this.#parts.log.countSampledOut()
      return { predictionId, verdict: GIVE, logged: NOT_LOGGED }
    }
    if (route.logMode === 'durable') return this.#logDurably(record, cancellation, route.endpoint)
    return { predictionId, verdict: GIVE, logged: this.#logRelaxed(record) }
  }

  /** For a copy: nobody waits for it, so it is never logged durably; of what was left out there are no copies. */
  keepCopy(route: Pick<EndpointRoute, 'endpoint' | 'model'>, prediction: Prediction): void {
    void this.#logRelaxed(this.#record(route, prediction))
  }

  #record({ endpoint, model }: Pick<EndpointRoute, 'endpoint' | 'model'>, prediction: Prediction): PredictionRecord {
    const atMs = this.#parts.clock.calendarMs()
    return {
      ...prediction, // first: copied as a whole, where later it would be field by field
      kind: 'prediction',
      predictionId: prediction.predictionId ?? newPredictionId(atMs),
      endpoint,
      model: prediction.model ?? model,
      atMs,
    }
  }

  #isLogged({ logMode, logSamplePercent }: EndpointRoute): boolean {
    if (logMode === 'off') return false
    return logSamplePercent >= 100 || this.#parts.random() * 100 < logSamplePercent
  }

  /** The log gives nearly all records one and the same promise: what comes of that one is asked once. */
  #logRelaxed(record: PredictionRecord): Promise<boolean> {
    const { log } = this.#parts
    const appended = log.append(record, 'relaxed')
    if (appended !== this.#appended) {
      this.#appended = appended
      this.#logged = this.#isInLog(appended, record.predictionId)
    }
    return this.#logged
  }

  async #isInLog(appended: Promise<'logged' | 'dropped'>, predictionId: string): Promise<boolean> {
    try {
      return (await appended) === 'logged'
    } catch (error) {
      this.#parts.tell('error', 'a prediction could not be logged', { predictionId, error: messageOf(error) })
      return false
    }
  }

  /** Answered only once it is on disk. An answer that can't be kept is not given: it would be a prediction without a trace. */
  async #logDurably(record: PredictionRecord, cancellation: Cancellation, endpoint: string): Promise<Kept> {
    const { log, tell } = this.#parts
    const { predictionId } = record
    const refuse = (why: string): Kept => ({
      predictionId,
      verdict: { kind: 'refuse', answer: retryAnswer(why) },
      logged: NOT_LOGGED,
    })
    const gaveUp = new Promise<'gave-up'>((resolve) => cancellation.onCancel(() => resolve('gave-up')))
    try {
      const done = await Promise.race([log.append(record, 'durable'), gaveUp])
      if (done === 'logged') return { predictionId, verdict: GIVE, logged: LOGGED }
      if (done === 'gave-up') return { predictionId, verdict: { kind: 'given-up' }, logged: NOT_LOGGED }
      return refuse(`The prediction log of endpoint '${endpoint}' dropped the record, and its log mode is durable.`)
    } catch (error) {
      tell('error', 'a prediction was refused because it could not be logged', { error: messageOf(error) })
      return refuse(`Endpoint '${endpoint}' logs durably, and the log can't take it: ${messageOf(error)}`)
    } finally {
      cancellation.onCancel(null)
    }
  }
}
