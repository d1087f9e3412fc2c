import { describe, expect, it } from 'vitest'
import type { Alert } from './alert.ts'
import { decideResponse, type ResponseFacts } from './decide-response.ts'
import { DAY_MS } from './observation.ts'

const alertOf = (overrides: Partial<Alert> = {}): Alert => ({
  seq: 1,
  id: 'alert-1',
  model: 'm',
  endpoint: 'm',
  versionId: 'm@4',
  source: 'quality',
  subject: '',
  severity: 'warning',
  status: 'firing',
  why: 'mean logLoss 0.6 against 0.4',
  figures: { windowToMs: 2 * DAY_MS },
  response: 'rollBack',
  responseTaken: null,
  runbook: null,
  openedAtMs: 0,
  openedCalendarMs: 0,
  alarmSeq: 1,
  firedAtMs: 0,
  firedCalendarMs: 0,
  resolvedAtMs: null,
  acknowledged: null,
  silencedUntilMs: null,
  ...overrides,
})
const facts: ResponseFacts = {
  championId: 'm@4',
  championSinceMs: 0,
  previousId: 'm@3',
  windowMs: DAY_MS,
  raiseAfter: 2,
}

describe('the response to an alarm', () => {
  it('is a rollback while the champion was bad from the start', () => {
    expect(decideResponse(alertOf(), facts)).toEqual({
      kind: 'rollBack',
      to: 'm@3',
      why: 'alert-1 (quality): mean logLoss 0.6 against 0.4',
    })
    const late = alertOf({ figures: { windowToMs: 3 * DAY_MS } })
    expect(decideResponse(late, facts).kind).toBe('rollBack')
    expect(decideResponse(alertOf({ figures: { windowToMs: 3 * DAY_MS + 1 } }), facts).kind).toBe('decline')
  })

  it('says why it does not roll back', () => {
    expect(decideResponse(alertOf(), { ...facts, championId: 'm@5' })).toMatchObject({
      kind: 'decline',
      why: expect.stringMatching(/m@4 is not the champion any more/),
    })
    expect(decideResponse(alertOf(), { ...facts, previousId: null })).toMatchObject({
      kind: 'decline',
      why: 'not rolled back: there is no version before m@4',
    })
  })

  it('is taken once, and only while the alarm fires', () => {
    expect(decideResponse(alertOf({ responseTaken: 'release-1' }), facts).kind).toBe('none')
    expect(decideResponse(alertOf({ status: 'pending' }), facts).kind).toBe('none')
    expect(decideResponse(alertOf({ status: 'resolved' }), facts).kind).toBe('none')
  })

  it('is a freeze where that is declared, and else left to others', () => {
    expect(decideResponse(alertOf({ response: 'freeze' }), facts).kind).toBe('freeze')
    for (const response of ['tell', 'retrain'] as const)
      expect(decideResponse(alertOf({ response }), facts).kind).toBe('none')
  })
})
