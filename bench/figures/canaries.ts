import { errorCanaries } from '../../src/testing/simulation/error-canaries.ts'
import { fixedHorizonRequests } from '../../src/testing/simulation/fixed-horizon.ts'
import { lossCoverage } from '../../src/testing/simulation/loss-coverage.ts'
import { wholeCanaries, type Harm } from '../../src/testing/simulation/whole-canaries.ts'
import type { Figure, Measure, MeasureOptions } from '../harness/figure.ts'

const CANARIES = 10_000
const ALPHA = 0.01
const CHAMPION_RATE = 0.02

/** Of a fixed seed, so that everybody gets these figures: how fast the machine is makes no difference to them. */
export const canaries: Figure = {
  id: 'S1',
  title: 'Simulated canaries, looked at after every request',
  onlyByName: true,
  async measure(options) {
    const measures = [...errorsAlone(options), ...wholeOnes(options), ...coverage(options)]
    return {
      setup: { canaries: options.samples ?? CANARIES, alpha: ALPHA, 'champion errors': `${CHAMPION_RATE * 100}%` },
      measures,
      limitedBy:
        'Evidence that may be read at any time must allow for all times: against one look at the end, the median canary ' +
        'needs about as many requests as the fixed test does for a power of 80%, the unlucky fifth of canaries more.',
    }
  },
}

/** The comparison of errors with all of alpha. */
function errorsAlone({ samples, note }: MeasureOptions): Measure[] {
  const count = samples ?? CANARIES
  const rates = { championRate: CHAMPION_RATE, alpha: ALPHA }
  note(`${count} canaries without harm, errors alone`)
  const quiet = errorCanaries({
    ...rates,
    steps: [10_000, 10_000].map((requests, step) => ({ share: [0.1, 0.5][step]!, requests })),
    challengerRate: CHAMPION_RATE,
    canaries: count,
    seed: 1,
  })
  const falseOnes = quiet.filter(Number.isFinite).length / count
  return [
    measure('errors alone: false rollbacks within 20,000 requests', '%', 100 * falseOnes, 1),
    ...ERRORS.flatMap(([share, challengerRate]) => {
      const what = `errors of ${Math.round(challengerRate * 100)}% at ${share * 100}% of the traffic`
      note(what)
      const steps = [{ share, requests: 1_000_000 }]
      const found = errorCanaries({ ...rates, steps, challengerRate, canaries: Math.ceil(count / 10), seed: 2 })
      const fixed = fixedHorizonRequests({ ...rates, share, challengerRate, power: 0.8 })
      const requests = deciles(found)
      return [
        { ...measure(`${what}: found after, deciles`, 'requests', 0), samples: requests },
        measure(`${what}: a fixed test of power 80% takes`, 'requests', fixed),
        measure(
          `${what}: median ÷ fixed`,
          'ratio',
          requests[4]! / fixed,
          share === 0.1 && challengerRate === 0.04 ? 1.5 : undefined,
        ),
      ]
    }),
  ]
}

/** Share of the challenger, and its rate of errors. */
const ERRORS: [share: number, challengerRate: number][] = [
  [0.1, 0.03],
  [0.1, 0.04],
  [0.1, 0.07],
  [0.1, 0.22],
  [0.1, 1],
  [0.5, 0.04],
  [0.5, 0.22],
]

const HARMS: [name: string, harm: Harm][] = [
  ['5 points more errors', { errors: 0.05 }],
  ['20 points more errors', { errors: 0.2 }],
  ['twice the latency', { latency: 2 }],
  ['three times the latency', { latency: 3 }],
  ['logits + 1', { logit: 1 }],
  ['logits + 2', { logit: 2 }],
  ['noise of 1 on the logits', { noise: 1 }],
]

/** All comparisons at once, each with its part of alpha, as a release has them. */
function wholeOnes({ samples, note }: MeasureOptions): Measure[] {
  const count = samples ?? CANARIES
  const steps = [
    { share: 0.1, requests: 2_000 },
    { share: 0.5, requests: 2_000 },
  ]
  const scenario = { steps, alpha: ALPHA, lookEvery: 100 }
  note(`${count} canaries without harm, all comparisons`)
  const quiet = wholeCanaries({ ...scenario, harm: {}, canaries: count, seed: 3 })
  const by = (test: string) => (100 * quiet.filter((end) => end.by === test).length) / count
  const all = (100 * quiet.filter((end) => end.by !== null).length) / count
  return [
    measure('all comparisons: false rollbacks within 4,000 requests', '%', all, 1),
    ...['errors', 'latency', 'shift', 'loss'].map((test) => measure(`of these by ${test}`, '%', by(test))),
    ...HARMS.flatMap(([name, harm]) => {
      note(name)
      const ends = wholeCanaries({ ...scenario, harm, canaries: Math.ceil(count / 20), seed: 4 })
      const found = ends.filter((end) => end.by !== null).map((end) => end.atRequest)
      const requests = { ...measure(`${name}: found after, deciles of these`, 'requests', 0), samples: deciles(found) }
      return [
        measure(`${name}: found within 4,000 requests`, '%', (100 * found.length) / ends.length),
        ...(found.length === 0 ? [] : [requests]),
      ]
    }),
  ]
}

function coverage({ samples, note }: MeasureOptions): Measure[] {
  const sequences = Math.ceil((samples ?? CANARIES) * 0.4)
  return (['shadow', 'canary'] as const).flatMap((kind) =>
    [ALPHA, ALPHA / 4].flatMap((alpha) => {
      note(`loss, ${kind}, alpha ${alpha}`)
      const { lower, upper } = lossCoverage({ kind, sequences, requests: 3_000, alpha, seed: 5 })
      const what = `loss, ${kind}, alpha ${alpha * 100}% each`
      return [
        measure(`${what}: equal models ever called worse`, '%', 100 * lower),
        measure(`${what}: equal models ever called better`, '%', 100 * upper),
      ]
    }),
  )
}

/** The first to the ninth, each one of the values. */
function deciles(values: Iterable<number>): number[] {
  const sorted = [...values].sort((a, b) => a - b)
  return Array.from(
    { length: 9 },
    (_, i) => sorted[Math.min(sorted.length - 1, Math.floor(((i + 1) * sorted.length) / 10))]!,
  )
}

function measure(name: string, unit: Measure['unit'], value: number, atMost?: number): Measure {
  return { name, unit, samples: [value], target: atMost === undefined ? null : { of: 'p50', atMost } }
}
