/**
 * How PostgreSQL's text becomes JavaScript, the same on both backends. Times are stored as epoch milliseconds, so
 * timestamp and interval, which the two clients read differently, are not used.
 */
const INT8 = 20
const NUMERIC = 1700

export const valueParsers: Record<number, (text: string) => unknown> = {
  [INT8]: (text) => {
    const value = Number(text)
    return Number.isSafeInteger(value) ? value : BigInt(text)
  },
  // Nothing is stored as numeric, but sum() over bigint and avg() give it.
  [NUMERIC]: Number,
}
