import { pairedBca } from '../../src/kernel/stats/bootstrap.ts'
import { seededRandom } from '../../src/kernel/stats/random.ts'
import type { Figure } from '../harness/figure.ts'

const ROWS = 100_000
const RESAMPLES = 2_000
const SAMPLES = 10

/** The gate's comparison of two models, as an evaluation calls it. The first call, before the compiler has warmed up, counts. */
export const bootstrap: Figure = {
  id: 'P10',
  title: 'Paired BCa bootstrap',
  async measure({ samples }) {
    const random = seededRandom(1)
    const first = Float64Array.from({ length: ROWS }, () => random.normal() ** 2)
    const second = first.map((loss) => loss + random.normal() / 10)
    const times = Array.from({ length: samples ?? SAMPLES }, (_, seed) => {
      const startMs = performance.now()
      pairedBca(first, second, { alpha: 0.05, resamples: RESAMPLES, seed })
      return (performance.now() - startMs) / 1_000
    })
    return {
      setup: { rows: ROWS, resamples: RESAMPLES },
      measures: [{ name: 'one comparison', unit: 's', samples: times, target: { of: 'p50', atMost: 2 } }],
      limitedBy: 'One processor that draws and adds up 200 million rows: random numbers and scattered reads.',
    }
  },
}
