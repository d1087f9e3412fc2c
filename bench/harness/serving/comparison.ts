import { median } from '../figure.ts'
import type { Measure } from '../figure.ts'
import type { Driven } from './drive.ts'

/** What is measured in turn, by name, every sample in the order in which it was taken. */
export class Comparison<Name extends string> {
  readonly #samples = new Map<Name, Driven[]>()

  add(name: Name, sample: Driven): void {
    const samples = this.#samples.get(name) ?? []
    samples.push(sample)
    this.#samples.set(name, samples)
  }

  of(name: Name): Driven[] {
    return this.#samples.get(name) ?? []
  }

  names(): Name[] {
    return [...this.#samples.keys()]
  }

  rate(name: Name): number {
    return median(this.of(name).map(({ requestsPerSecond }) => requestsPerSecond))
  }

  p99Ms(name: Name): number {
    return median(this.of(name).map(({ p99Ms }) => p99Ms))
  }

  /** Of its n-th process, by request. */
  processorUs(name: Name, process = 0): number {
    return median(this.of(name).map(({ processorUs }) => processorUs[process]!))
  }

  /** Round by round, so that both are of the same minute. */
  ratios(a: Name, b: Name, of: (driven: Driven) => number = ({ requestsPerSecond }) => requestsPerSecond): number[] {
    const others = this.of(b)
    return this.of(a).map((driven, round) => of(driven) / of(others[round]!))
  }

  /** Throughput, latency and processor time, without a target. @param processes - names of those that were looked at */
  measures(name: Name, processes: readonly string[]): Measure[] {
    const samples = this.of(name)
    const measure = (what: string, unit: Measure['unit'], value: (driven: Driven) => number): Measure => ({
      name: `${name}: ${what}`,
      unit,
      samples: samples.map(value),
      target: null,
    })
    return [
      measure('throughput', 'requests/s', (driven) => driven.requestsPerSecond),
      measure('latency p50', 'ms', (driven) => driven.p50Ms),
      measure('latency p99', 'ms', (driven) => driven.p99Ms),
      ...processes.map((process, i) =>
        measure(`processor time of a request, ${process}`, 'µs', (driven) => driven.processorUs[i]!),
      ),
    ]
  }
}

/** How long each sample of a serving figure is. */
export const SAMPLE = { warmMs: 1_000, countMs: 4_000, connections: 32, rounds: 5 } as const
