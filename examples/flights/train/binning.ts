/** A column cut into bins: row `r` lies in bin `bins[r]`, and `x <= cuts[b]` holds exactly where `bin(x) <= b`. */
export interface BinnedColumn {
  bins: Uint8Array
  /** Ascending, without repeats, one fewer than there are bins. */
  cuts: Float32Array
}

/** Quantiles of a larger column are taken from about so many of its values. */
const QUANTILE_ROWS = 20_000

/**
 * Values of the column that cut it into at most `bins` parts of about equal size.
 * The largest value is never a cut: nothing would lie beyond it.
 */
export function quantileCuts(column: Float32Array, bins: number): Float32Array {
  const stride = Math.max(1, Math.floor(column.length / QUANTILE_ROWS))
  const sorted = column.filter((_, row) => row % stride === 0).sort()
  const cuts = new Set<number>()
  for (let bin = 1; bin < bins; bin++) cuts.add(sorted[Math.floor((bin * sorted.length) / bins)]!)
  cuts.delete(sorted.at(-1)!)
  return Float32Array.from(cuts).sort()
}

export function binColumn(column: Float32Array, cuts: Float32Array): BinnedColumn {
  return { cuts, bins: Uint8Array.from(column, (value) => cutsBelow(value, cuts)) }
}

/** How many cuts are smaller than the value, by halving. */
function cutsBelow(value: number, cuts: Float32Array): number {
  let low = 0
  let high = cuts.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (value <= cuts[middle]!) high = middle
    else low = middle + 1
  }
  return low
}
