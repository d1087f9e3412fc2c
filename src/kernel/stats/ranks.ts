/**
 * Ranks from 1, ties sharing the mean of the ranks they cover: [3, 1, 3] has midranks [2.5, 1, 2.5].
 * @param values - finite
 */
export function midranks(values: Float64Array): Float64Array {
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[a]! - values[b]!)
  const ranks = new Float64Array(values.length)
  for (let start = 0; start < order.length;) {
    let end = start + 1
    while (end < order.length && values[order[end]!] === values[order[start]!]) end += 1
    for (let i = start; i < end; i++) ranks[order[i]!] = (start + end + 1) / 2
    start = end
  }
  return ranks
}

/**
 * Area under the ROC curve: the probability that a positive row scores above a negative one, ties by half
 * (the Mann–Whitney statistic).
 * @param positive - 1 for a positive row, 0 for a negative one
 * @returns null where one of the classes has no row: then the area is not defined
 */
export function areaUnderCurve(scores: Float64Array, positive: Uint8Array): number | null {
  const ranks = midranks(scores)
  let positives = 0
  let rankSum = 0
  for (let i = 0; i < ranks.length; i++) {
    if (positive[i] !== 1) continue
    positives += 1
    rankSum += ranks[i]!
  }
  const negatives = ranks.length - positives
  if (positives === 0 || negatives === 0) return null
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives)
}
