import { describe, expect, it } from 'vitest'
import { checkTimeZone, CronError, lastUntil, nextAfter, parseCron, timesBetween } from './cron.ts'
import { seededRandom, type Random } from './stats/random.ts'

const at = (text: string) => Date.parse(text)
const shown = (times: number[]) => times.map((ms) => new Date(ms).toISOString().slice(0, 16))
const after = (cron: string, zone: string, from: string, count: number) =>
  shown(timesBetween(parseCron(cron), zone, at(from), Number.MAX_SAFE_INTEGER, count))

describe('a cron expression', () => {
  it.each([
    ['0 3 * * *', ['2026-06-01T03:00', '2026-06-02T03:00']],
    ['*/20 8-9 * * *', ['2026-06-01T08:00', '2026-06-01T08:20', '2026-06-01T08:40', '2026-06-01T09:00']],
    ['5,35 0 * * *', ['2026-06-01T00:05', '2026-06-01T00:35', '2026-06-02T00:05']],
    ['0 0 1-10/4 * *', ['2026-06-05T00:00', '2026-06-09T00:00', '2026-07-01T00:00']],
    ['0 3 * * mon', ['2026-06-01T03:00', '2026-06-08T03:00']],
    ['0 0 * * FRI-SUN', ['2026-06-05T00:00', '2026-06-06T00:00', '2026-06-07T00:00', '2026-06-12T00:00']],
    ['0 0 * * 7', ['2026-06-07T00:00']],
    ['0 0 1 JAN,jul *', ['2026-07-01T00:00', '2027-01-01T00:00']],
    ['@hourly', ['2026-06-01T01:00', '2026-06-01T02:00']],
    ['@daily', ['2026-06-02T00:00']],
    ['@weekly', ['2026-06-07T00:00']],
    ['@monthly', ['2026-07-01T00:00']],
    ['@yearly', ['2027-01-01T00:00']],
    ['0 0 29 2 *', ['2028-02-29T00:00', '2032-02-29T00:00']],
  ])('%s comes at %j', (cron, times) => {
    expect(after(cron, 'UTC', '2026-06-01T00:00:00Z', times.length)).toEqual(times)
  })

  it('takes either day field where both are restricted, and both where one begins with a star', () => {
    // 2026-06-13 is a Saturday.
    expect(after('0 0 13 * FRI', 'UTC', '2026-06-01T00:00Z', 3)).toEqual([
      '2026-06-05T00:00',
      '2026-06-12T00:00',
      '2026-06-13T00:00',
    ])
    expect(after('0 0 */2 * SAT', 'UTC', '2026-06-01T00:00Z', 2)).toEqual(['2026-06-13T00:00', '2026-06-27T00:00'])
  })

  it.each([
    ['', 'it has 1 fields, not 5'],
    ['0 3 * *', 'it has 4 fields, not 5'],
    ['0 0 3 * * *', 'it has 6 fields, not 5'],
    ['@reboot', 'it has 1 fields, not 5'],
    ['60 3 * * *', "its minute has '60'"],
    ['0 24 * * *', "its hour has '24'"],
    ['0 0 0 * *', "its day of month has '0'"],
    ['0 0 * 13 *', "its month has '13'"],
    ['0 0 * * 8', "its day of week has '8'"],
    ['0 0 * * MOND', "its day of week has 'MOND'"],
    ['0 22-2 * * *', "its hour has '22-2'"],
    ['*/0 * * * *', "its minute has '*/0'"],
    ['5/10 * * * *', "its minute has '5/10'"],
    ['1,,2 * * * *', "its minute has ''"],
    ['1-2-3 * * * *', "its minute has '1-2-3'"],
    ['-1 * * * *', "its minute has ''"],
    ['0 0 31 2 *', 'never comes'],
    ['0 0 30 FEB *', 'never comes'],
    ['0 0 31 4,6,9,11 *', 'never comes'],
  ])('is refused as %j: %s', (cron, why) => {
    expect(() => parseCron(cron)).toThrow(CronError)
    expect(() => parseCron(cron)).toThrow(why)
  })

  it('is not refused for a date that comes once in decades', () => {
    // From 2096 to 2104 there is no 29 February; the next one on a Sunday, Wednesday or Saturday is in 2108.
    const cron = parseCron('0 0 29 2 */3')
    expect(new Date(nextAfter(cron, 'UTC', at('2097-01-01'))).toISOString()).toBe('2108-02-29T00:00:00.000Z')
  })

  it('refuses a time zone that is not known', () => {
    expect(() => checkTimeZone('Europe/Atlantis')).toThrow("'Europe/Atlantis' is not a known time zone")
    expect(checkTimeZone('America/New_York')).toBeUndefined()
  })
})

describe('a clock that is changed', () => {
  it('fires a skipped time once, right after the gap', () => {
    expect(after('30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00Z', 2)).toEqual([
      '2026-03-29T01:00',
      '2026-03-30T00:30',
    ])
    expect(after('0 2 * * *', 'America/New_York', '2026-03-07T12:00Z', 2)).toEqual([
      '2026-03-08T07:00',
      '2026-03-09T06:00',
    ])
  })

  it('fires what was skipped and what is due right after the gap as one', () => {
    expect(after('*/15 * * * *', 'Europe/Berlin', '2026-03-29T00:30Z', 3)).toEqual([
      '2026-03-29T00:45',
      '2026-03-29T01:00',
      '2026-03-29T01:15',
    ])
  })

  it('fires a time that comes twice once, the first time', () => {
    expect(after('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00Z', 2)).toEqual([
      '2026-10-25T00:30',
      '2026-10-26T01:30',
    ])
    expect(after('30 1 * * *', 'America/New_York', '2026-10-31T12:00Z', 2)).toEqual([
      '2026-11-01T05:30',
      '2026-11-02T06:30',
    ])
    // From within the second of the two hours.
    expect(after('30 2 * * *', 'Europe/Berlin', '2026-10-25T01:10Z', 1)).toEqual(['2026-10-26T01:30'])
  })

  it('goes by elapsed time where no hour is left out: both of two equal hours, and none that is skipped', () => {
    expect(after('0 * * * *', 'Europe/Berlin', '2026-10-24T23:30Z', 4)).toEqual([
      '2026-10-25T00:00',
      '2026-10-25T01:00',
      '2026-10-25T02:00',
      '2026-10-25T03:00',
    ])
    expect(after('30 * * * *', 'America/New_York', '2026-03-08T06:00Z', 2)).toEqual([
      '2026-03-08T06:30',
      '2026-03-08T07:30',
    ])
    // Half an hour back at two o'clock: 01:30 to 02:00 comes twice.
    expect(after('*/20 0-23 * * *', 'Australia/Lord_Howe', '2026-04-04T14:25Z', 4)).toEqual([
      '2026-04-04T14:40',
      '2026-04-04T15:10',
      '2026-04-04T15:30',
      '2026-04-04T15:50',
    ])
    const hourly = parseCron('@hourly')
    expect(shown([lastUntil(hourly, 'Europe/Berlin', at('2026-10-25T01:10Z'))])).toEqual(['2026-10-25T01:00'])
    expect(shown([lastUntil(hourly, 'Europe/Berlin', at('2026-10-25T00:59Z'))])).toEqual(['2026-10-25T00:00'])
  })

  it('finds the two equal hours of one day of the year from far away', () => {
    const cron = parseCron('30 * 25 10 *')
    const times = timesBetween(cron, 'Europe/Berlin', at('2025-12-01T00:00Z'), at('2026-11-01T00:00Z'), 100)
    expect(times).toHaveLength(25)
    expect(shown(times.slice(2, 5))).toEqual(['2026-10-25T00:30', '2026-10-25T01:30', '2026-10-25T02:30'])
    expect(shown([lastUntil(cron, 'Europe/Berlin', at('2027-06-01T00:00Z'))])).toEqual(['2026-10-25T22:30'])
  })

  it('knows the last time in the second of two equal hours', () => {
    const cron = parseCron('30 2 * * *')
    expect(shown([lastUntil(cron, 'Europe/Berlin', at('2026-10-25T01:10Z'))])).toEqual(['2026-10-25T00:30'])
  })

  it('fires a day that a zone left out once, at its end', () => {
    expect(after('0 12 * * *', 'Pacific/Apia', '2011-12-29T00:00Z', 3)).toEqual([
      '2011-12-29T22:00',
      '2011-12-30T10:00',
      '2011-12-30T22:00',
    ])
  })
})

describe.each(['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata'])('in %s', (zone) => {
  it('agrees with a walk minute by minute, around every change of the clock and back', () => {
    const random = seededRandom(zone.length)
    for (const change of ['2026-03-08', '2026-03-29', '2026-04-05', '2026-10-04', '2026-10-25', '2026-11-01']) {
      const from = at(`${change}T00:00Z`) - DAY_MS
      const walked = walk(zone, from, from + 3 * DAY_MS)
      for (let i = 0; i < 6; i++) {
        const { text, everyHour, matches } = randomCron(random)
        const cron = parseCron(text)
        const due = ({ reached, wall }: Walked) => (everyHour ? matches(wall) : reached.some(matches))
        const expected = walked.filter(due).map(({ ms }) => ms)
        const found = timesBetween(cron, zone, from, from + 3 * DAY_MS, 10_000)
        const probe = from + 2 * DAY_MS + random.integer(DAY_MS)
        const last = lastUntil(cron, zone, probe)
        expect({ text, found }).toEqual({ text, found: expected })
        // Before the walk begins nothing is known of it.
        expect({ text, last: last > from ? last : undefined }).toEqual({
          text,
          last: expected.findLast((ms) => ms <= probe),
        })
      }
    }
  })
})

const DAY_MS = 86_400_000

interface Walked {
  ms: number
  /** What the clock shows, in ms as if UTC. */
  wall: number
  /** What it has not shown before, minute by minute. */
  reached: number[]
}

function walk(zone: string, fromMs: number, untilMs: number): Walked[] {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'short' })
  const wallOf = (ms: number) => Date.parse(`${format.format(ms).replace(' ', 'T')}Z`)
  const steps: Walked[] = []
  let highest = wallOf(fromMs)
  for (let ms = fromMs + 60_000; ms <= untilMs; ms += 60_000) {
    const reached: number[] = []
    for (const wall = wallOf(ms); highest < wall;) reached.push((highest += 60_000))
    steps.push({ ms, wall: wallOf(ms), reached })
  }
  return steps
}

/** An expression written as lists, with its meaning told apart from the parser. Hours are mostly those of the changes. */
function randomCron(random: Random): { text: string; everyHour: boolean; matches: (wallMs: number) => boolean } {
  const some = (min: number, max: number) =>
    random.integer(2) === 0 ? null : [0, 1, 2].map(() => min + random.integer(max - min + 1))
  const [minute, day, weekday] = [some(0, 59), some(1, 31), some(0, 6)]
  const hour = some(0, 4)
  const write = (values: number[] | null) => values?.join(',') ?? '*'
  const has = (values: number[] | null, value: number) => values === null || values.includes(value)
  return {
    text: `${write(minute)} ${write(hour)} ${write(day)} * ${write(weekday)}`,
    everyHour: hour === null,
    matches: (wallMs) => {
      const date = new Date(wallMs)
      const days = [has(day, date.getUTCDate()), has(weekday, date.getUTCDay())]
      const dated = day !== null && weekday !== null ? days.some(Boolean) : days.every(Boolean)
      return has(minute, date.getUTCMinutes()) && has(hour, date.getUTCHours()) && dated
    },
  }
}
