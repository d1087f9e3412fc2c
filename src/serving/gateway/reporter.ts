import { GATEWAY_REPORT_MS } from '../../kernel/contract/routing.ts'
import type { GatewayReport } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { postToControl } from './control-link.ts'
import type { ControlAddress } from './control-link.ts'
import type { Tell } from '../front/tell.ts'
import type { Traffic } from './traffic.ts'

const REPORT_TIMEOUT_MS = 2_000

/** All of a report but the traffic, as it is at the moment of the call. */
export type Observe = () => Omit<GatewayReport, 'traffic' | 'trafficSeq' | 'callers'>

/** Tells the control plane what the gateway sees: on a beat, and at once when the routes have changed. One at a time. */
export class Reporter {
  readonly #to: ControlAddress
  readonly #observe: Observe
  readonly #traffic: Traffic
  readonly #tell: Tell
  #beat: NodeJS.Timeout | null = null
  #sending: Promise<void> | null = null
  #again = false
  #told = ''

  constructor(to: ControlAddress, observe: Observe, traffic: Traffic, tell: Tell) {
    this.#to = to
    this.#observe = observe
    this.#traffic = traffic
    this.#tell = tell
  }

  start(): void {
    this.#beat = setInterval(() => this.#report(false), GATEWAY_REPORT_MS)
    this.#report(false)
  }

  /** At once, or right after the report that is on its way, which may not know yet. */
  reportNow(): void {
    this.#report(true)
  }

  /** The last report, with everything that was counted. Best effort: the control plane may be gone before the gateway. */
  async stop(): Promise<void> {
    if (this.#beat !== null) clearInterval(this.#beat)
    this.#again = false
    await this.#sending
    await this.#send() // what a failed report held, or what came since
    await this.#send() // and what came while that was repeated
  }

  #report(urgent: boolean): void {
    if (this.#sending !== null) {
      if (urgent) this.#again = true
      return
    }
    this.#sending = this.#send().finally(() => {
      this.#sending = null
      if (!this.#again) return
      this.#again = false
      this.#report(false)
    })
  }

  async #send(): Promise<void> {
    const { seq, traffic, callers } = this.#traffic.batch()
    const report: GatewayReport = { ...this.#observe(), trafficSeq: seq, traffic }
    if (callers.length > 0) report.callers = callers
    try {
      await postToControl(this.#to, '/internal/gateway-report', report, REPORT_TIMEOUT_MS)
      this.#traffic.acknowledge(seq)
      this.#told = ''
    } catch (error) {
      const why = messageOf(error)
      if (why !== this.#told) this.#tell('warn', 'a report to the control plane failed, it is kept', { why })
      this.#told = why
    }
  }
}
