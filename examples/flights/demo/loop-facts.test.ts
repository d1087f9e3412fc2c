import { describe, expect, it } from 'vitest'
import type { EventView } from '../../../src/surface/api/event-schemas.ts'
import type { RunSummary } from '../../../src/surface/api/run-schemas.ts'
import { alarm } from './loop-builders.ts'
import { firingsOf, retirementsOf, withFirstWords } from './loop-facts.ts'

describe('what started trainings', () => {
  it('is what triggers fired and left out, and what people asked for, by calendar time', () => {
    const events = [
      event({ to: 'fired', cause: 'due', calendarMs: 30, detail: { run: 'run-2', kind: 'cron' } }),
      event({ to: 'skipped', cause: 'run-2 is open', calendarMs: 40, detail: { kind: 'cron' } }),
      event({ to: 'paused', cause: 'by ann' }),
      event({ entity: 'run', to: 'queued' }),
    ]
    const runs = [
      { id: 'run-1', cause: 'manual: the first version (demo)', asOfMs: 20 },
      { id: 'run-2', cause: 'cron: due', asOfMs: 30 },
    ] as RunSummary[]
    expect(firingsOf(events, runs)).toEqual([
      { trigger: 'by hand', kind: 'manual', what: 'fired', why: runs[0]!.cause, run: 'run-1', calendarMs: 20 },
      { trigger: 'monthly', kind: 'cron', what: 'fired', why: 'due', run: 'run-2', calendarMs: 30 },
      { trigger: 'monthly', kind: 'cron', what: 'skipped', why: 'run-2 is open', run: null, calendarMs: 40 },
    ])
  })
})

describe('how far versions have gone out of service', () => {
  it('is their last step, with the reason for which they go', () => {
    const of = (to: string, cause: string, calendarMs: number, policy?: string) =>
      event({
        entity: 'retirement',
        entityId: 'm@1',
        to,
        cause,
        calendarMs,
        detail: policy === undefined ? null : { policy },
      })
    const gone = [
      of('proposed', 'superseded: m@3 serves instead', 1, 'superseded'),
      of('draining', 'free', 2),
      of('cold', 'out of service', 3),
    ]
    expect(retirementsOf(gone)).toEqual([
      { version: 'm@1', status: 'cold', policy: 'superseded', why: 'm@3 serves instead', calendarMs: 3 },
    ])
    const back = [...gone, of('kept', 'revived by ann', 4, 'person')]
    expect(retirementsOf(back)).toMatchObject([{ status: 'kept', policy: 'person', why: 'revived by ann' }])
  })
})

describe('why an alarm was raised', () => {
  it('is what it said then, not what it says now', () => {
    const events = [
      event({ entity: 'alert', entityId: 'alert-1', to: 'pending', cause: 'PSI 0.11' }),
      event({ entity: 'alert', entityId: 'alert-1', to: 'firing', cause: 'PSI 0.15' }),
      event({ entity: 'alert', entityId: 'alert-2', to: 'firing', cause: 'other' }),
    ]
    expect(withFirstWords([alarm({ why: 'PSI 0.18' })], events)).toMatchObject([{ why: 'PSI 0.15' }])
    expect(withFirstWords([alarm({ why: 'PSI 0.18' })], [])).toMatchObject([{ why: 'PSI 0.18' }])
  })
})

function event(given: Partial<EventView>): EventView {
  const nothing = { seq: 1, from: null, to: 'x', cause: 'x', atMs: 0, calendarMs: 0, detail: null }
  return { ...nothing, entity: 'trigger', entityId: 'late-flight/monthly', ...given }
}
