import { quietDays as simulate } from '../../src/testing/simulation/quiet-days.ts'
import type { Figure } from '../harness/figure.ts'

const DAYS = 90
const MODELS = 40
const BASELINE_ROWS = 20_000
/** Rows of a working day, and by how much days differ of themselves, in standard deviations of a column. */
const WORLDS = [
  { rowsPerDay: 400, dayEffect: 0.1 },
  { rowsPerDay: 2_000, dayEffect: 0.1 },
  { rowsPerDay: 2_000, dayEffect: 0.2 },
]

/** Of a fixed seed, as the canaries. */
export const quietDays: Figure = {
  id: 'S5',
  title: 'False alarms of the default monitors on 90 quiet days, with daily and weekly seasons',
  onlyByName: true,
  async measure({ samples, note }) {
    const models = samples ?? MODELS
    const measures = WORLDS.map(({ rowsPerDay, dayEffect }, world) => {
      const what = `${rowsPerDay} rows a day, which differ by ${dayEffect} standard deviations`
      note(what)
      const found = simulate({ rowsPerDay, dayEffect, models, days: DAYS, baselineRows: BASELINE_ROWS, seed: world })
      const perMonth = Object.values(found).map(({ alarms }) => alarms / models / (DAYS / 30))
      const name = `${what}: ${Object.keys(found).join(', ')}`
      return { name, unit: 'a month' as const, samples: perMonth, target: { of: 'max' as const, atMost: 1 } }
    })
    return {
      setup: { models, days: DAYS, 'baseline rows': BASELINE_ROWS, window: '1 day', 'rows at weekends': '60%' },
      measures,
      limitedBy:
        'Not by chance, which alpha and two bad windows in a row exclude, but by days that do differ: where they do by ' +
        'more than the limit, two in a row are an alarm.',
    }
  },
}
