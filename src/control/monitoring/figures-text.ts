/** Numbers as people read them in reasons. */

export function number(value: number | null): string {
  if (value === null) return '–'
  if (value === 0) return '0'
  return Math.abs(value) >= 0.001 && Math.abs(value) < 1e6
    ? String(Number(value.toPrecision(3)))
    : value.toExponential(1)
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

export function percent(share: number | null): string {
  return share === null ? '–' : `${number(share * 100)}%`
}

export function probability(pValue: number | null): string {
  return pValue === null ? 'p unknown' : pValue < 0.001 ? 'p < 0.001' : `p = ${number(pValue)}`
}

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const

export function duration(ms: number): string {
  const [unit, size] = units.find(([, unitMs]) => ms >= unitMs) ?? ['ms', 1]
  return `${number(ms / size)} ${unit}`
}
