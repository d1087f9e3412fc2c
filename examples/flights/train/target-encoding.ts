/**
 * A key such as an airport becomes a number: its late rate. A training row must not see its own outcome in that number
 * (else trees believe rare keys blindly and fail on next week's flights), so flights are dealt into folds and a row's
 * rate is counted over the other folds only. Serving looks up the rate over all folds.
 */

/** Late and total flights of one key in one fold. */
export interface KeyCount {
  /** The feature that the key is a value of, e.g. `route`. */
  feature: string
  key: string
  fold: number
  flights: number
  late: number
}

/** A key counts as if it had so many more flights, late at the usual rate. */
const PRIOR_FLIGHTS = 60

export interface TargetEncoding {
  /** Rate of a key that training never saw, exact in float32: the rate of all flights. */
  usualRate: number
  /** For serving: rate over all folds, exact in float32. */
  rates: Map<string, number>
  /** For training: the rate over all folds but the row's own. */
  outOfFold: (key: string, fold: number) => number
}

/**
 * @param feature - which of the counts' features to encode
 * @throws RangeError if there are no flights to count
 */
export function encodeTarget(counts: KeyCount[], feature: string): TargetEncoding {
  const own = counts.filter((count) => count.feature === feature)
  const usualRate = Math.fround(rateOf(own))
  const totals = new Map<string, { flights: number; late: number }>()
  const folds = new Map<string, KeyCount>()
  for (const count of own) {
    const total = totals.get(count.key) ?? { flights: 0, late: 0 }
    totals.set(count.key, { flights: total.flights + count.flights, late: total.late + count.late })
    folds.set(`${count.fold} ${count.key}`, count)
  }
  const smooth = (late: number, flights: number) =>
    Math.fround((late + PRIOR_FLIGHTS * usualRate) / (flights + PRIOR_FLIGHTS))
  return {
    usualRate,
    rates: new Map([...totals].map(([key, total]) => [key, smooth(total.late, total.flights)])),
    outOfFold: (key, fold) => {
      const total = totals.get(key) ?? { flights: 0, late: 0 }
      const same = folds.get(`${fold} ${key}`) ?? { flights: 0, late: 0 }
      return smooth(total.late - same.late, total.flights - same.flights)
    },
  }
}

function rateOf(counts: KeyCount[]): number {
  const flights = counts.reduce((sum, count) => sum + count.flights, 0)
  if (flights === 0) throw new RangeError('There are no flights to learn late rates from.')
  return counts.reduce((sum, count) => sum + count.late, 0) / flights
}
