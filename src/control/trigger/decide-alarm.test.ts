import { describe, expect, it } from 'vitest'
import type { AlarmTrigger } from '../../config/project.ts'
import type { Alert } from '../monitoring/alert.ts'
import { decideAlarm, names, type AlarmQuestion } from './decide-alarm.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const NOW = Date.UTC(2026, 2, 2)

const trigger = (change: Partial<AlarmTrigger> = {}): AlarmTrigger => ({
  kind: 'alarm',
  name: 'alarm-1',
  monitors: [],
  coolDownMs: 6 * HOUR_MS,
  perDay: 2,
  ...change,
})

const alarm = (alarmSeq: number, source = 'drift', change: Partial<Alert> = {}): Alert => ({
  seq: alarmSeq,
  id: `alert-${alarmSeq}`,
  model: 'm',
  endpoint: 'm',
  versionId: 'm@1',
  source,
  subject: '',
  severity: 'warning',
  status: 'firing',
  why: 'PSI 0.4 over 0.25',
  figures: {},
  response: 'retrain',
  responseTaken: null,
  runbook: null,
  openedAtMs: NOW,
  openedCalendarMs: NOW,
  alarmSeq,
  firedAtMs: NOW,
  firedCalendarMs: NOW,
  resolvedAtMs: null,
  acknowledged: null,
  silencedUntilMs: null,
  ...change,
})

const firedAt = (agoMs: number, run = 1) => ({
  runId: `run-${run}`,
  atMs: NOW - agoMs,
  calendarMs: NOW - agoMs,
  agoMs,
  why: 'drift',
})

const question = (change: Partial<AlarmQuestion> = {}): AlarmQuestion => ({
  trigger: trigger(),
  state: { alarmSeq: 0 },
  resumed: null,
  alarms: [],
  lastSeq: 9,
  firings: [],
  openRun: null,
  ...change,
})

describe('an alarm trigger', () => {
  it('is not concerned by alarms before its first look', () => {
    expect(decideAlarm(question({ state: null }), NOW)).toMatchObject({ kind: 'begin', state: { alarmSeq: 9 } })
  })

  it('fires once for alarms that come together', () => {
    const alarms = [alarm(1), alarm(2, 'quality'), alarm(3, 'missing')]
    const decision = decideAlarm(question({ alarms }), NOW)
    expect(decision).toEqual({ kind: 'act', fire: alarms, skipped: null, state: { alarmSeq: 3 } })
    expect(names(alarms)).toBe('drift, quality and 1 more')
  })

  it('listens to the monitors it names, and by any to monitors alone', () => {
    const only = trigger({ monitors: ['quality'] })
    expect(decideAlarm(question({ trigger: only, alarms: [alarm(1)] }), NOW)).toEqual({
      kind: 'act',
      fire: [],
      skipped: null,
      state: { alarmSeq: 1 },
    })
    const slo = alarm(1, 'service-level/availability')
    expect(decideAlarm(question({ alarms: [slo] }), NOW)).toMatchObject({ fire: [], state: { alarmSeq: 1 } })
    expect(decideAlarm(question({ trigger: only, state: { alarmSeq: 1 } }), NOW)).toMatchObject({
      kind: 'wait',
      why: 'no alarm of quality',
    })
  })

  it('cools down in calendar time, and says until when', () => {
    const held = question({ alarms: [alarm(1)], firings: [firedAt(2 * HOUR_MS, 4)] })
    expect(decideAlarm(held, NOW)).toEqual({
      kind: 'wait',
      state: 'waiting',
      why: 'drift: cools down after run-4 until 2026-03-02T04:00:00Z',
      nextMs: NOW + 4 * HOUR_MS,
    })
    expect(decideAlarm(question({ alarms: [alarm(1)], firings: [firedAt(6 * HOUR_MS)] }), NOW).kind).toBe('act')
  })

  it('keeps its number in 24 hours, and says when the next may come', () => {
    const firings = [firedAt(7 * HOUR_MS, 2), firedAt(20 * HOUR_MS, 1)]
    expect(decideAlarm(question({ alarms: [alarm(1)], firings }), NOW)).toEqual({
      kind: 'wait',
      state: 'waiting',
      why: 'drift: 2 of 2 in 24 hours, until 2026-03-02T04:00:00Z',
      nextMs: NOW + 4 * HOUR_MS,
    })
    const later = NOW + 4 * HOUR_MS
    expect(decideAlarm(question({ alarms: [alarm(1)], firings }), later)).toMatchObject({ kind: 'act' })
  })

  it('waits for a run of the model that is open', () => {
    expect(decideAlarm(question({ alarms: [alarm(1)], openRun: 'run-7' }), NOW)).toMatchObject({
      kind: 'wait',
      why: 'drift: waits for the end of run-7',
    })
  })

  it('drops an alarm that was over before it could fire, and fires for one that goes on', () => {
    const firings = [firedAt(2 * HOUR_MS)]
    const over = alarm(1, 'drift', { status: 'resolved', firedCalendarMs: NOW - HOUR_MS })
    const decision = decideAlarm(question({ alarms: [over], firings }), NOW)
    expect(decision).toMatchObject({ kind: 'act', fire: [], skipped: { alarms: [over] }, state: { alarmSeq: 1 } })
    expect(decideAlarm(question({ alarms: [over, alarm(2)], firings }), NOW).kind).toBe('wait')
    const later = NOW + 5 * HOUR_MS
    expect(decideAlarm(question({ alarms: [over, alarm(2)], firings }), later)).toMatchObject({
      fire: [{ id: 'alert-2' }],
      skipped: { alarms: [{ id: 'alert-1' }] },
    })
  })

  it('fires for an alarm that was over at once, where nothing held it back', () => {
    const brief = alarm(1, 'drift', { status: 'resolved' })
    expect(decideAlarm(question({ alarms: [brief] }), NOW)).toMatchObject({ fire: [{ id: 'alert-1' }], skipped: null })
  })

  it('fires nothing of what came during a pause, unless catching up is asked', () => {
    const resumed = { calendarMs: NOW, catchUp: false }
    expect(decideAlarm(question({ alarms: [alarm(1)], resumed }), NOW)).toMatchObject({
      fire: [],
      skipped: { why: 'the trigger was paused' },
      state: { alarmSeq: 1 },
    })
    const asked = { ...resumed, catchUp: true }
    expect(decideAlarm(question({ alarms: [alarm(1)], resumed: asked }), NOW)).toMatchObject({ fire: [{}] })
  })

  it('neither fires twice nor waits for ever after the calendar went back: then real time counts', () => {
    const fired = (agoMs: number) => [{ ...firedAt(agoMs), calendarMs: NOW + 365 * DAY_MS }]
    const ask = (agoMs: number) => decideAlarm(question({ alarms: [alarm(1)], firings: fired(agoMs) }), NOW)
    expect(ask(HOUR_MS)).toMatchObject({ kind: 'wait', nextMs: null })
    expect(ask(6 * HOUR_MS).kind).toBe('act')
  })
})
