/** How good probabilities are against what happened. */
export interface Quality {
  rows: number
  /** Mean of −ln(probability given to what happened); lower is better. */
  logLoss: number
  /** Chance that a late flight got a higher probability than one in time; 0.5 is guessing. Null: one class only. */
  auc: number | null
}

/** Probabilities are kept this far from 0 and 1, where a single mistake would cost infinitely much. */
const EDGE = 1e-7

export function measure(late: ArrayLike<0 | 1>, probabilities: ArrayLike<number>): Quality {
  const rows = probabilities.length
  let loss = 0
  for (let row = 0; row < rows; row++) {
    const given = late[row] === 1 ? probabilities[row]! : 1 - probabilities[row]!
    loss -= Math.log(Math.min(1 - EDGE, Math.max(EDGE, given)))
  }
  return { rows, logLoss: loss / rows, auc: areaUnderCurve(late, probabilities) }
}

/** By ranks (Mann and Whitney 1947); equal probabilities share their ranks' mean. */
function areaUnderCurve(late: ArrayLike<0 | 1>, probabilities: ArrayLike<number>): number | null {
  const order = Array.from({ length: probabilities.length }, (_, row) => row)
  order.sort((a, b) => probabilities[a]! - probabilities[b]!)
  let rankSum = 0
  let positives = 0
  for (let start = 0; start < order.length;) {
    let end = start + 1
    while (end < order.length && probabilities[order[end]!] === probabilities[order[start]!]) end++
    const meanRank = (start + 1 + end) / 2
    const lateHere = order.slice(start, end).filter((row) => late[row] === 1).length
    rankSum += lateHere * meanRank
    positives += lateHere
    start = end
  }
  const negatives = order.length - positives
  if (positives === 0 || negatives === 0) return null
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives)
}
