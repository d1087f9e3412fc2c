import type { FlightFeatures } from './gateway-client.ts'
import type { Day } from './online-features.ts'

/**
 * Faults that machine learning in production really meets, for `npm run demo -- --fault NAME`. Each breaks the example
 * project or an application that asks it, on a stated day; Millrace is told nothing. Faults of training are changes to
 * the project's own files, as a developer would commit them; faults of an application change what its requests say.
 */

export const faultNames = ['leakage', 'codes', 'utc', 'kilometres', 'outage'] as const
export type FaultName = (typeof faultNames)[number]

/** A text in one of the project's files and what takes its place. */
export interface Edit {
  file: string
  find: string
  replace: string
}

export interface Fault {
  name: FaultName
  /** What goes wrong, in one sentence. */
  title: string
  /** Where it should be caught; what Millrace did is in the report. */
  expected: 'gate' | 'shadow' | 'canary' | 'monitor'
  /** From the beginning: how this project is set up otherwise than the example. */
  setUp: Edit[]
  /** On the day of the fault: what the developer commits, and then trains by hand. */
  commit: Edit[]
  /** From the day of the fault on: which requests are wrong, and how. Null: none is. */
  request: ((features: FlightFeatures) => FlightFeatures | null) | null
  /** Inputs that the fault changes: an alarm about another input has nothing to do with it. */
  inputs: string[]
  /** Whether it changes the answers so much that alarms about them speak of it. */
  answers: boolean
  /** Whether the application ever says what became of its flights. */
  labels: boolean
}

const sampleRows = '${SAMPLE_ROWS}'

/** In training only, as application and training have their features from different hands. */
const trainingFault = { request: null, inputs: [], answers: true, setUp: [], labels: true } satisfies Partial<Fault>
const requestFault = { commit: [], setUp: [], labels: true, expected: 'monitor' } satisfies Partial<Fault>

export const faults: Record<FaultName, Fault> = {
  leakage: {
    ...trainingFault,
    name: 'leakage',
    title: 'the training step counts late rates on the very flights that it then learns from',
    expected: 'gate',
    commit: [
      {
        file: 'train/features.ts',
        find: 'from (unpivot training on origin',
        replace: `from (unpivot (from training order by shuffle, departure, late limit ${sampleRows}) on origin`,
      },
      {
        file: 'train/target-encoding.ts',
        find: 'return smooth(total.late - same.late, total.flights - same.flights)',
        replace: 'return smooth(total.late, total.flights)',
      },
      { file: 'train/target-encoding.ts', find: 'PRIOR_FLIGHTS = 60', replace: 'PRIOR_FLIGHTS = 1' },
    ],
  },
  codes: {
    ...trainingFault,
    name: 'codes',
    title: 'training writes airport codes in lower case, while the application goes on sending capitals',
    expected: 'canary',
    // Nobody says what became of the flights: the canary has only the answers to go by.
    labels: false,
    setUp: [{ file: 'millrace.config.ts', find: "strategy: 'shadow'", replace: "strategy: 'canary'" }],
    commit: [
      {
        file: 'features.sql',
        find: '      origin,\n      destination,\n      distance,\n      (delay > 15)',
        replace:
          '      lower(origin) as origin,\n      lower(destination) as destination,\n      distance,\n      (delay > 15)',
      },
    ],
  },
  utc: {
    ...trainingFault,
    name: 'utc',
    title: 'training takes the hour in UTC, while the application goes on sending local time',
    expected: 'shadow',
    commit: [
      {
        file: 'features.sql',
        find: '(hour(departure) + minute(departure) / 60)::float as hour',
        replace: '((hour(departure) + 5) % 24 + minute(departure) / 60)::float as hour',
      },
    ],
  },
  kilometres: {
    ...requestFault,
    name: 'kilometres',
    title: 'the caller that asks about two flights in three sends the distance in kilometres',
    inputs: ['distance'],
    answers: false,
    request: (features) =>
      asksThere(features) ? { ...features, distance: Math.round(features.distance * KILOMETRES_PER_MILE) } : null,
  },
  outage: {
    ...requestFault,
    name: 'outage',
    title: "the application's table of yesterday's late rates is empty, and it sends 0 for them",
    inputs: ['origin_late', 'destination_late'],
    answers: true,
    request: (features) => ({ ...features, origin_late: 0, destination_late: 0 }),
  },
}

const KILOMETRES_PER_MILE = 1.609

/** Two of three flights, the same ones always: told apart by their airport. */
function asksThere({ origin }: FlightFeatures): boolean {
  let sum = 0
  for (const letter of origin) sum = (sum * 31 + letter.charCodeAt(0)) % 1_009
  return sum % 3 !== 0
}

/** The days as the application asks about them: from the fault's day on with its wrong requests, marked as such. */
export function withWrongRequests(days: Day[], fault: Pick<Fault, 'request'>, onsetMs: number): Day[] {
  const { request } = fault
  if (request === null) return days
  return days.map((day) => {
    if (day.startMs < onsetMs) return day
    const flights = day.flights.map((flight) => {
      const features = request(flight.features)
      return features === null ? flight : { ...flight, features, wrong: true }
    })
    return { ...day, flights }
  })
}

/** @throws RangeError if the text is not there exactly once: the file has changed, and the edit must follow */
export function applyEdit(text: string, edit: Edit): string {
  const parts = text.split(edit.find)
  if (parts.length !== 2) throw new RangeError(`${edit.file} has '${edit.find}' ${parts.length - 1} times, not once.`)
  return parts.join(edit.replace)
}
