/* How values look on a terminal. All pure. */

/** Control characters of foreign text (model names, reasons, log lines in tables) must not reach the terminal. */
export function plainText(text: string): string {
  // eslint-disable-next-line no-control-regex -- these are the ones to remove
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g, ' ')
}

/** 950 → `950 ms`, 2_950 → `3.0 s`, 75_000 → `1m 15s`, 90_000_000 → `1d 1h`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  const units: [string, number][] = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1_000],
  ]
  const first = units.findIndex(([, size]) => ms >= size)
  const [[big, bigMs], small] = [units[first]!, units[first + 1]]
  const rest = small === undefined ? 0 : Math.floor((ms % bigMs) / small[1])
  return `${Math.floor(ms / bigMs)}${big}${rest === 0 ? '' : ` ${rest}${small![0]}`}`
}

export function ago(atMs: number | null, nowMs: number): string {
  if (atMs === null) return '–'
  const ms = nowMs - atMs
  return ms < 1_000 ? 'now' : `${duration(ms)} ago`
}

/** UTC, to the second: `2001-02-05 12:00:00Z`. */
export function time(atMs: number | null): string {
  if (atMs === null) return '–'
  const date = new Date(atMs)
  return Number.isNaN(date.getTime()) ? String(atMs) : `${date.toISOString().slice(0, 19).replace('T', ' ')}Z`
}

export function bytes(size: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const step = size < 1_000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(size) / 3))
  return `${step === 0 ? size : (size / 1_000 ** step).toFixed(1)} ${units[step]}`
}

/** Up to 4 significant digits, whole numbers with thousands apart: `0.7171`, `12,345`. */
export function number(value: number | null): string {
  if (value === null) return '–'
  if (Number.isInteger(value)) return value.toLocaleString('en-US')
  return Math.abs(value) >= 1e-4 && Math.abs(value) < 1e6
    ? String(Number(value.toPrecision(4)))
    : value.toExponential(2)
}

/** `auc 0.7171, rows 5,000`; what is null is left out. */
export function figures(values: Record<string, number | string | boolean | null>): string {
  return Object.entries(values)
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${plainText(key)} ${typeof value === 'number' ? number(value) : plainText(String(value))}`)
    .join(', ')
}

export function bar(fraction: number, width: number): string {
  const full = Math.round(Math.min(1, Math.max(0, fraction)) * width)
  return '█'.repeat(full) + '░'.repeat(width - full)
}
