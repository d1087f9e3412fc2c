const DAY_MS = 86_400_000
const WEEK_MS = 7 * DAY_MS

/**
 * Name of the ISO 8601 week that holds a moment, e.g. `2001-W05`. Names sort as the weeks do.
 * @param timeMs - calendar time, ms since 1970, read as UTC (the data's times carry no zone)
 */
export function weekName(timeMs: number): string {
  const thursdayMs = mondayOf(timeMs) + 3 * DAY_MS // the week belongs to the year of its Thursday
  const year = new Date(thursdayMs).getUTCFullYear()
  const number = 1 + Math.round((mondayOf(timeMs) - mondayOf(Date.UTC(year, 0, 4))) / WEEK_MS)
  return `${year}-W${String(number).padStart(2, '0')}`
}

/**
 * First moment of a week, Monday 00:00, in ms since 1970.
 * @throws RangeError if `name` isn't like `2001-W05` or that year has no such week
 */
export function weekStartMs(name: string): number {
  const [, year, number] = /^(\d{4})-W(\d{2})$/.exec(name) ?? []
  const startMs = mondayOf(Date.UTC(Number(year), 0, 4)) + (Number(number) - 1) * WEEK_MS
  if (!Number.isFinite(startMs) || weekName(startMs) !== name) {
    throw new RangeError(`'${name}' is not an ISO week: write it like 2001-W05.`)
  }
  return startMs
}

function mondayOf(timeMs: number): number {
  const dayMs = Math.floor(timeMs / DAY_MS) * DAY_MS
  const daysSinceMonday = (new Date(dayMs).getUTCDay() + 6) % 7
  return dayMs - daysSinceMonday * DAY_MS
}
