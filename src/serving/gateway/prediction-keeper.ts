import type { Clock } from '../../kernel/clock.ts'
import { newPredictionId } from '../../kernel/contract/prediction-id.ts'
import type { PredictionRecord } from '../../kernel/contract/prediction.ts'
import type { EndpointRoute } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { retryAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import type { Cancellation } from '../front/cancellation.ts'
import type { PredictionLog } from './prediction-log.ts'
import type { Tell } from './tell.ts'

/** What goes into the log of an answered inference; its time is that of the call, and so is its id unless given. */
export type Prediction = Partial<Pick<PredictionRecord, 'model' | 'absent' | 'predictionId'>> & Pick<
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

  constructor(parts: KeeperParts) {
    this.#parts = parts
  }

  async keep(route: EndpointRoute, prediction: Prediction, cancellation: Cancellation): Promise<Kept> {
    const record = this.#record(route, prediction)
    const { predictionId } = record
    if (!this.#isLogged(route)) {
      this.#parts.log.countSampledOut()
      return { predictionId, verdict: { kind: 'give' }, logged: NOT_LOGGED }
    }
    if (route.logMode === 'durable')
      return { predictionId, ...(await this.#logDurably(record, cancellation, route.endpoint)) }
    return { predictionId, verdict: { kind: 'give' }, logged: this.#logRelaxed(record) }
  }

  /** For a copy: nobody waits for it, so it is never logged durably; of what was left out there are no copies. */
  keepCopy(route: Pick<EndpointRoute, 'endpoint' | 'model'>, prediction: Prediction): void {
    void this.#logRelaxed(this.#record(route, prediction))
  }

  #record({ endpoint, model }: Pick<EndpointRoute, 'endpoint' | 'model'>, prediction: Prediction): PredictionRecord {
    const atMs = this.#parts.clock.calendarMs()
    return { kind: 'prediction', predictionId: newPredictionId(atMs), endpoint, model, atMs, ...prediction }
  }

  #isLogged({ logMode, logSamplePercent }: EndpointRoute): boolean {
    if (logMode === 'off') return false
    return logSamplePercent >= 100 || this.#parts.random() * 100 < logSamplePercent
  }

  async #logRelaxed(record: PredictionRecord): Promise<boolean> {
    const { log, tell } = this.#parts
    try {
      return (await log.append(record, 'relaxed')) === 'logged'
    } catch (error) {
      tell('error', 'a prediction could not be logged', { predictionId: record.predictionId, error: messageOf(error) })
      return false
    }
  }

  /** Answered only once it is on disk. An answer that can't be kept is not given: it would be a prediction without a trace. */
  async #logDurably(
    record: PredictionRecord,
    cancellation: Cancellation,
    endpoint: string,
  ): Promise<Pick<Kept, 'verdict' | 'logged'>> {
    const { log, tell } = this.#parts
    const refuse = (why: string) => ({
      verdict: { kind: 'refuse' as const, answer: retryAnswer(why) },
      logged: NOT_LOGGED,
    })
    const gaveUp = new Promise<'gave-up'>((resolve) => cancellation.onCancel(() => resolve('gave-up')))
    try {
      const done = await Promise.race([log.append(record, 'durable'), gaveUp])
      if (done === 'logged') return { verdict: { kind: 'give' }, logged: LOGGED }
      if (done === 'gave-up') return { verdict: { kind: 'given-up' }, logged: NOT_LOGGED }
      return refuse(`The prediction log of endpoint '${endpoint}' dropped the record, and its log mode is durable.`)
    } catch (error) {
      tell('error', 'a prediction was refused because it could not be logged', { error: messageOf(error) })
      return refuse(`Endpoint '${endpoint}' logs durably, and the log can't take it: ${messageOf(error)}`)
    } finally {
      cancellation.onCancel(null)
    }
  }
}
