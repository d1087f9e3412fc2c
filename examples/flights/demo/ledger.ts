import type { Answer } from './gateway-client.ts'
import type { FlightOfDay } from './online-features.ts'

/** What the application has seen with its own eyes: every request, its answer, and the truth. */

export interface Acknowledged {
  predictionId: string
  version: string
  probability: number
  late: 0 | 1
  /** When the answer came, real time (ms since 1970). */
  atMs: number
  /** The request said something wrong: a fault that is being replayed. */
  wrong: boolean
}

export class Ledger {
  readonly acknowledged: Acknowledged[] = []
  sent = 0
  failed = 0
  interrupted = 0
  /** Sent while the calendar was held: during a training or the first steps of a release. */
  sentWhileHeld = 0
  /** Sent while a new version was on trial. */
  sentOnTrial = 0
  labelsSent = 0
  labelsAccepted = 0
  /** The first few reasons, for people. */
  readonly faults: string[] = []

  /** @param ask - sends one request; counted before it is sent */
  async record(flight: FlightOfDay, during: Meanwhile, ask: () => Promise<Answer>): Promise<void> {
    this.sent++
    if (during.held) this.sentWhileHeld++
    if (during.trial) this.sentOnTrial++
    const answer = await ask()
    if (answer.kind === 'answered') {
      const { predictionId, version, probability } = answer
      const wrong = flight.wrong === true
      this.acknowledged.push({ predictionId, version, probability, late: flight.late, atMs: Date.now(), wrong })
      return
    }
    this[answer.kind]++
    if (this.faults.length < FAULTS_KEPT) this.faults.push(`${answer.kind}: ${answer.why}`)
  }
}

/** What was under way when a request was sent. */
export interface Meanwhile {
  held: boolean
  trial: boolean
}

const FAULTS_KEPT = 10
