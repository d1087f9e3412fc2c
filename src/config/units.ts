/** Durations and sizes as people write them. Months and years are left out: they have no fixed length. */

const msPer: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** As disks and networks count (kB, MB, GB), and as memory does (KiB, MiB, GiB). */
const bytesPer: Record<string, number> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}

export const durationPattern = /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d|w)$/
export const sizePattern = /^(\d+(?:\.\d+)?) ?(B|[kK]B|MB|GB|TB|KiB|MiB|GiB|TiB)$/

/** `"15m"` → 900000, rounded to whole ms; null where it is no duration. */
export function durationMs(text: string): number | null {
  return amount(durationPattern.exec(text), msPer)
}

/** `"200MB"` → 200000000, rounded to whole bytes; null where it is no size. */
export function sizeBytes(text: string): number | null {
  return amount(sizePattern.exec(text), bytesPer)
}

function amount(match: RegExpExecArray | null, per: Record<string, number>): number | null {
  if (match === null) return null
  return Math.round(Number(match[1]) * per[match[2]!]!)
}
