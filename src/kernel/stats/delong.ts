import { StatisticsInputError } from './errors.ts'
import { normalCdf } from './normal.ts'
import { midranks } from './ranks.ts'

/** Two areas under the curve on the same rows. Plain numbers, fit for JSON. */
export interface AucDifference {
  first: number
  second: number
  /** `first − second`. */
  difference: number
  standardError: number
  /** Two-sided, from the normal approximation; 1 where both models rank every row alike. */
  pValue: number
}

/**
 * DeLong's test of two correlated areas under the ROC curve. Rows are taken as independent: with clusters it is too
 * sure of itself, so it checks the bootstrap and never decides.
 *
 * @param positive - 1 for a positive row, 0 for a negative one
 * @returns null with fewer than two rows of either class: no variance can be told
 * @see DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988; by midranks as Sun and Xu, IEEE SPL 21, 2014
 */
export function deLong(first: Float64Array, second: Float64Array, positive: Uint8Array): AucDifference | null {
  if (first.length !== second.length || first.length !== positive.length) {
    throw new StatisticsInputError(
      `Scores and labels must have one length, not ${first.length}, ${second.length} and ${positive.length}.`,
    )
  }
  const positives = positive.reduce((count, flag) => count + flag, 0)
  if (positives < 2 || positive.length - positives < 2) return null
  const a = placements(first, positive)
  const b = placements(second, positive)
  const difference = a.area - b.area
  const variance =
    varianceOfDifference(a.ofPositives, b.ofPositives) / positives +
    varianceOfDifference(a.ofNegatives, b.ofNegatives) / (positive.length - positives)
  const standardError = Math.sqrt(variance)
  const pValue = standardError === 0 ? (difference === 0 ? 1 : 0) : 2 * normalCdf(-Math.abs(difference) / standardError)
  return { first: a.area, second: b.area, difference, standardError, pValue }
}

interface Placements {
  area: number
  /** Per positive row: the share of negative rows that score below it. */
  ofPositives: Float64Array
  /** Per negative row: the share of positive rows that score above it. */
  ofNegatives: Float64Array
}

function placements(scores: Float64Array, positive: Uint8Array): Placements {
  const among = midranks(scores)
  const ofPositives = ranksBeyondOwnClass(scores, among, positive, 1)
  const ofNegatives = ranksBeyondOwnClass(scores, among, positive, 0)
  for (let i = 0; i < ofPositives.length; i++) ofPositives[i]! /= ofNegatives.length
  for (let i = 0; i < ofNegatives.length; i++) ofNegatives[i] = 1 - ofNegatives[i]! / ofPositives.length
  return { area: meanOf(ofPositives), ofPositives, ofNegatives }
}

/** Rank among all less the rank within the class: how many of the other class lie below. */
function ranksBeyondOwnClass(
  scores: Float64Array,
  among: Float64Array,
  positive: Uint8Array,
  flag: 0 | 1,
): Float64Array {
  const own = scores.filter((_, row) => positive[row] === flag)
  const ownRanks = midranks(own)
  const amongOwn = among.filter((_, row) => positive[row] === flag)
  return amongOwn.map((rank, i) => rank - ownRanks[i]!)
}

function varianceOfDifference(a: Float64Array, b: Float64Array): number {
  const differences = a.map((value, i) => value - b[i]!)
  const mean = meanOf(differences)
  return differences.reduce((total, value) => total + (value - mean) ** 2, 0) / (differences.length - 1)
}

function meanOf(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0) / values.length
}
