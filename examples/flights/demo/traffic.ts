import { setTimeout as sleep } from 'node:timers/promises'
import type { GatewayClient } from './gateway-client.ts'
import type { Ledger, Meanwhile } from './ledger.ts'
import type { FlightOfDay } from './online-features.ts'

/** Sends a day's flights to the gateway. Each flight is asked about once. */
export class Traffic {
  private readonly gateway: Pick<GatewayClient, 'predict'>
  private readonly ledger: Ledger
  private waiting: FlightOfDay[] = []

  constructor(gateway: Pick<GatewayClient, 'predict'>, ledger: Ledger) {
    this.gateway = gateway
    this.ledger = ledger
  }

  /** Flights of another day; what is left of the day before is not asked about any more. */
  beginDay(flights: FlightOfDay[]): void {
    this.waiting = [...flights]
  }

  /** The next flights, as fast as so many connections go. */
  async send(count: number, connections: number, trial: boolean): Promise<void> {
    const flights = this.waiting.splice(0, count)
    const sender = async () => {
      for (let flight = flights.shift(); flight !== undefined; flight = flights.shift()) {
        await this.ask(flight, { held: false, trial })
      }
    }
    await Promise.all(Array.from({ length: connections }, sender))
  }

  /** Goes on at a slower pace while something else is under way, so that a release meets traffic. */
  async trickleDuring<T>(work: Promise<T>, perSecond: number): Promise<T> {
    let isUnderWay = true
    const ended = work.finally(() => (isUnderWay = false))
    const trickle = async () => {
      while (isUnderWay && this.waiting.length > 0) {
        const atOnce = this.waiting.splice(0, AT_ONCE)
        const asked = atOnce.map((flight) => this.ask(flight, { held: true, trial: false }))
        await Promise.all([...asked, sleep((1000 * AT_ONCE) / perSecond)])
      }
    }
    const [result] = await Promise.all([ended, trickle()])
    return result
  }

  private ask(flight: FlightOfDay, during: Meanwhile): Promise<void> {
    return this.ledger.record(flight, during, () => this.gateway.predict(flight.features))
  }
}

const AT_ONCE = 4
