import type { GoldenRow } from '../evaluation/golden-rows.ts'

/** An output of a v2 answer, as JSON has it. */
export interface AnsweredOutput {
  name: string
  data: GoldenValue[]
}

type GoldenValue = number | string | boolean | null

export interface GoldenDifference {
  output: string
  expected: unknown
  got: unknown
}

/**
 * The first place where a server's answer is not the evaluation's prediction.
 * @param tolerance - for numbers: |got − expected| ≤ tolerance × max(1, |expected|); other values must be equal
 * @returns null when all of it is equal
 */
export function compareGolden(golden: GoldenRow, answer: AnsweredOutput[], tolerance: number): GoldenDifference | null {
  for (const [output, expected] of Object.entries(golden.outputs)) {
    const got = answer.find((t) => t.name === output)
    if (got === undefined || got.data.length !== expected.data.length)
      return { output, expected: `${expected.data.length} values`, got: got === undefined ? 'nothing' : `${got.data.length} values` }
    const index = expected.data.findIndex((value, i) => !equal(value, got.data[i] ?? null, tolerance))
    if (index >= 0) return { output, expected: expected.data[index], got: got.data[index] }
  }
  return null
}

function equal(expected: GoldenValue, got: GoldenValue, tolerance: number): boolean {
  if (typeof expected === 'number' && typeof got === 'number')
    return Math.abs(got - expected) <= tolerance * Math.max(1, Math.abs(expected))
  // Integers beyond 2^53 are kept as text, which JSON.parse would have rounded.
  return expected === got || String(expected) === String(got)
}
