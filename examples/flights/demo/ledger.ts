import type { Answer } from './gateway-client.ts'
import type { FlightOfDay } from './online-features.ts'

/** What the application has seen with its own eyes: every request, its answer, and the truth. */

export interface Acknowledged {
  predictionId: string
  version: string
  probability: number
  late: 0 | 1
}

export class Ledger {
  readonly acknowledged: Acknowledged[] = []
  sent = 0
  failed = 0
  interrupted = 0
  /** Sent while a training or a release was under way. */
  sentWhileHeld = 0
  labelsSent = 0
  labelsAccepted = 0
  /** The first few reasons, for people. */
  readonly faults: string[] = []

  /** @param ask - sends one request; counted before it is sent */
  async record(flight: FlightOfDay, isHeld: boolean, ask: () => Promise<Answer>): Promise<void> {
    this.sent++
    if (isHeld) this.sentWhileHeld++
    const answer = await ask()
    if (answer.kind === 'answered') {
      const { predictionId, version, probability } = answer
      this.acknowledged.push({ predictionId, version, probability, late: flight.late })
      return
    }
    this[answer.kind]++
    if (this.faults.length < FAULTS_KEPT) this.faults.push(`${answer.kind}: ${answer.why}`)
  }
}

const FAULTS_KEPT = 10
