import { MillraceError } from './errors.ts'

/**
 * Times of day by the calendar, as crontab(5) writes them:
 *
 *   minute hour day-of-month month day-of-week     e.g. `0 3 * * MON`, `5,35 8-18 * * 1-5`, `@daily`
 *
 * A date must match both day fields, or either where neither begins with `*`. Times are wall-clock times of a zone:
 * one that the clock skips in spring counts right after the gap, one that comes twice in autumn counts the first time.
 * What comes in every hour of the day goes by elapsed time instead, as in cron(8): an hour that comes twice has its times
 * twice, one that is skipped has none, and an hourly job never pauses for two hours.
 */
export interface Cron {
  /** As written. */
  text: string
  /** Minutes of the day, ascending: 180 is 03:00. */
  minutes: number[]
  /** 1 … 31 */
  days: Set<number>
  /** 1 … 12 */
  months: Set<number>
  /** 0 (Sunday) … 6 */
  weekdays: Set<number>
  /** Both day fields are restricted: either will do. */
  eitherDay: boolean
  /** No hour is left out: it goes by elapsed time. */
  everyHour: boolean
}

export class CronError extends MillraceError {
  constructor(message: string, fix: string) {
    super({ code: 'MR_CRON', kind: 'invalid', message, fix })
  }
}

/** @throws CronError also where no date of the next decades matches, such as 31 February */
export function parseCron(text: string): Cron {
  const written = ALIASES[text.trim().toLowerCase()] ?? text.trim()
  const parts = written.split(/\s+/)
  if (parts.length !== FIELDS.length) {
    const aliases = Object.keys(ALIASES).join(', ')
    throw new CronError(
      `'${text}' is not a cron expression: it has ${parts.length} fields, not 5.`,
      `Write minute, hour, day of month, month and day of week, e.g. '0 3 * * MON', or one of ${aliases}.`,
    )
  }
  const [minutes, hours, days, months, weekdays] = parts.map((part, i) => parseField(text, part, FIELDS[i]!))
  const cron: Cron = {
    text,
    minutes: [...hours!].flatMap((hour) => [...minutes!].map((minute) => hour * 60 + minute)).toSorted((a, b) => a - b),
    days: days!,
    months: months!,
    weekdays: new Set([...weekdays!].map((day) => day % 7)),
    eitherDay: !parts[2]!.startsWith('*') && !parts[4]!.startsWith('*'),
    everyHour: hours!.size === 24,
  }
  if (searchLocal(cron, Date.UTC(2000, 0, 1), 1) === null)
    throw new CronError(`'${text}' never comes: no date matches it.`, 'Check its day of month against its month.')
  return cron
}

/** @param timeZone - IANA name, e.g. `Europe/Berlin` @throws CronError where it is not known */
export function checkTimeZone(timeZone: string): void {
  wallMs(timeZone, 0)
}

/** The first time after `ms`, epoch ms. */
export function nextAfter(cron: Cron, timeZone: string, ms: number): number {
  if (cron.everyHour) return searchElapsed(cron, timeZone, Math.floor(ms) + 1, 1)
  return search(cron, timeZone, floorMinute(wallMs(timeZone, ms)) + MINUTE_MS, 1, (at) => at > ms)
}

/** The last time at or before `ms`, epoch ms. */
export function lastUntil(cron: Cron, timeZone: string, ms: number): number {
  if (cron.everyHour) return searchElapsed(cron, timeZone, Math.floor(ms), -1)
  // In the second of two equal hours, later wall-clock times of that hour have been already.
  const offsetMs = Math.max(offsetAt(timeZone, ms - DAY_MS), offsetAt(timeZone, ms))
  return search(cron, timeZone, floorMinute(ms + offsetMs), -1, (at) => at <= ms)
}

/** The first times after `fromMs` and not after `untilMs`, ascending, at most `limit`. */
export function timesBetween(cron: Cron, timeZone: string, fromMs: number, untilMs: number, limit: number): number[] {
  const times: number[] = []
  for (let at = fromMs; times.length < limit;) {
    at = nextAfter(cron, timeZone, at)
    if (at > untilMs) break
    times.push(at)
  }
  return times
}

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** 29 February on one weekday comes after 40 years at the latest, where a century between has no leap day. */
const HORIZON_DAYS = 41 * 366

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

interface Field {
  name: string
  min: number
  max: number
  /** Words for min, min + 1, … */
  names: string[]
}

const FIELDS: readonly Field[] = [
  { name: 'minute', min: 0, max: 59, names: [] },
  { name: 'hour', min: 0, max: 23, names: [] },
  { name: 'day of month', min: 1, max: 31, names: [] },
  { name: 'month', min: 1, max: 12, names: MONTHS },
  { name: 'day of week', min: 0, max: 7, names: WEEKDAYS },
]

const ALIASES: Record<string, string> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
}

function parseField(text: string, part: string, field: Field): Set<number> {
  const values = new Set<number>()
  for (const item of part.split(',')) {
    const [, range, stepText] = /^([^/]+)(?:\/(\d+))?$/.exec(item) ?? refuse(text, item, field)
    const step = stepText === undefined ? 1 : Number(stepText)
    const ends = range === '*' ? [String(field.min), String(field.max)] : range!.split('-')
    if (step < 1 || ends.length > 2 || (ends.length === 1 && stepText !== undefined)) refuse(text, item, field)
    const from = parseValue(text, ends[0]!, field)
    const until = ends.length === 1 ? from : parseValue(text, ends[1]!, field)
    // Friday to Sunday: Sunday is 0 and 7.
    const to = until === 0 && field.max === 7 && from > 0 ? 7 : until
    if (to < from) refuse(text, item, field)
    for (let value = from; value <= to; value += step) values.add(value)
  }
  return values
}

function parseValue(text: string, word: string, field: Field): number {
  const named = field.names.indexOf(word.toLowerCase())
  const value = named >= 0 ? field.min + named : /^\d{1,2}$/.test(word) ? Number(word) : Number.NaN
  return value >= field.min && value <= field.max ? value : refuse(text, word, field)
}

function refuse(text: string, item: string, { name, min, max, names }: Field): never {
  const words = names.length === 0 ? '' : `, or ${names[0]!.toUpperCase()} … ${names.at(-1)!.toUpperCase()}`
  throw new CronError(
    `'${text}' is not a cron expression: its ${name} has '${item}'.`,
    `Use numbers ${min} … ${max}${words}, in lists (1,2), upward ranges (1-5) and steps (*/2, 1-9/2).`,
  )
}

function search(cron: Cron, timeZone: string, fromWallMs: number, way: 1 | -1, fits: (at: number) => boolean): number {
  for (let wall: number | null = fromWallMs; ; wall += way * MINUTE_MS) {
    wall = searchLocal(cron, wall, way)
    if (wall === null) throw neverComes(cron)
    const at = instantOf(timeZone, wall)
    if (fits(at)) return at
  }
}

const neverComes = ({ text }: Cron): CronError =>
  new CronError(`'${text}' never comes.`, 'Check its day of month against its month.')

/** The first instant at `fromMs` or that way from it at which the zone's clocks show a time that matches. */
function searchElapsed(cron: Cron, timeZone: string, fromMs: number, way: 1 | -1): number {
  for (let from = fromMs; ;) {
    const offset = offsetAt(timeZone, from)
    const nearest = way === 1 ? ceilMinute(from + offset) : floorMinute(from + offset)
    const wall = searchLocal(cron, nearest, way)
    if (wall === null) throw neverComes(cron)
    const at = wall - offset
    // Once more from near it: so that there is one change of the clock on the way at most.
    if (Math.abs(at - from) > 2 * DAY_MS) from = at - way * DAY_MS
    else if (offsetAt(timeZone, at) === offset) return at
    else from = changeBetween(timeZone, from, at, way)
  }
}

/** Where the clock, going that way from `from`, first shows another offset. */
function changeBetween(timeZone: string, from: number, to: number, way: 1 | -1): number {
  const offset = offsetAt(timeZone, from)
  let [same, other] = [from, to]
  while (Math.abs(other - same) > 1) {
    const middle = Math.floor((same + other) / 2)
    if (offsetAt(timeZone, middle) === offset) same = middle
    else other = middle
  }
  return way === 1 ? Math.max(same, other) : Math.min(same, other)
}

/** Wall-clock times are held as if they were UTC. @returns the first that matches, at `fromMs` or that way from it */
function searchLocal(cron: Cron, fromMs: number, way: 1 | -1): number | null {
  let day = Math.floor(fromMs / DAY_MS)
  let bound = (fromMs - day * DAY_MS) / MINUTE_MS
  for (let i = 0; i < HORIZON_DAYS; i++) {
    const minute = !matchesDate(cron, new Date(day * DAY_MS))
      ? undefined
      : way === 1
        ? cron.minutes.find((m) => m >= bound)
        : cron.minutes.findLast((m) => m <= bound)
    if (minute !== undefined) return day * DAY_MS + minute * MINUTE_MS
    day += way
    bound = way === 1 ? 0 : 1439
  }
  return null
}

function matchesDate(cron: Cron, date: Date): boolean {
  if (!cron.months.has(date.getUTCMonth() + 1)) return false
  const byDay = cron.days.has(date.getUTCDate())
  const byWeekday = cron.weekdays.has(date.getUTCDay())
  return cron.eitherDay ? byDay || byWeekday : byDay && byWeekday
}

/** The first instant at which the zone's clocks show this wall-clock time, or the end of the gap that skips it. */
function instantOf(timeZone: string, wall: number): number {
  const before = offsetAt(timeZone, wall - DAY_MS)
  const after = offsetAt(timeZone, wall + DAY_MS)
  const fits = [wall - before, wall - after].filter((at) => at + offsetAt(timeZone, at) === wall)
  if (fits.length > 0) return Math.min(...fits)
  let [low, high] = [(wall - after) / 1_000, (wall - before) / 1_000] // seconds: before the change, and at or after it
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (offsetAt(timeZone, middle * 1_000) === before) low = middle
    else high = middle
  }
  return high * 1_000
}

const floorMinute = (ms: number) => Math.floor(ms / MINUTE_MS) * MINUTE_MS
const ceilMinute = (ms: number) => Math.ceil(ms / MINUTE_MS) * MINUTE_MS

const wallMs = (timeZone: string, ms: number) => ms + offsetAt(timeZone, ms)

/** Zones are as many as a configuration names; each formatter costs some 10 kB. */
const formats = new Map<string, Intl.DateTimeFormat>()

/** ms that the zone's clocks are ahead of UTC at this instant. */
function offsetAt(timeZone: string, ms: number): number {
  if (timeZone === 'UTC') return 0
  const parts: Record<string, number> = {}
  for (const { type, value } of formatOf(timeZone).formatToParts(ms)) parts[type] = Number(value)
  const { year, month, day, hour, minute, second } = parts as Record<
    'year' | 'month' | 'day' | 'hour' | 'minute' | 'second',
    number
  >
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(ms / 1_000) * 1_000
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone)
  if (known !== undefined) return known
  try {
    const numeric = 'numeric' as const
    const date = { year: numeric, month: numeric, day: numeric, hour: numeric, minute: numeric, second: numeric }
    const format = new Intl.DateTimeFormat('en-US', { timeZone, calendar: 'iso8601', hourCycle: 'h23', ...date })
    formats.set(timeZone, format)
    return format
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new CronError(`'${timeZone}' is not a known time zone.`, `Use an IANA name, e.g. 'UTC' or 'Europe/Berlin'.`)
  }
}
