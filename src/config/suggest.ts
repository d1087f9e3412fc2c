/** The nearest of the known names, when it is near enough to be meant: a third of its letters may differ, never all. */
export function nearest(written: string, known: readonly string[]): string | null {
  const ranked = known
    .map((name) => ({ name, distance: editDistance(written.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  const best = ranked[0]
  if (best === undefined || best.distance >= best.name.length) return null
  return best.distance <= Math.max(1, Math.floor(best.name.length / 3)) ? best.name : null
}

/** Insertions, deletions, changes and swaps of neighbours (optimal string alignment). Names are cut at 64 letters. */
export function editDistance(a: string, b: string): number {
  const [s, t] = [a.slice(0, 64), b.slice(0, 64)]
  const rows: number[][] = [Array.from({ length: t.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= s.length; i++) {
    const row = [i]
    for (let j = 1; j <= t.length; j++) {
      const change = rows[i - 1]![j - 1]! + (s[i - 1] === t[j - 1] ? 0 : 1)
      const swapped = i > 1 && j > 1 && s[i - 1] === t[j - 2] && s[i - 2] === t[j - 1]
      const swap = swapped ? rows[i - 2]![j - 2]! + 1 : Infinity
      row.push(Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, change, swap))
    }
    rows.push(row)
  }
  return rows[s.length]![t.length]!
}

/** A name made safe: `Late Flight_2` → `late-flight-2`; null when nothing is left. */
export function safeName(written: string): string | null {
  const made = written
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 40)
    .replace(/-+$/, '')
  return made === '' ? null : made
}
