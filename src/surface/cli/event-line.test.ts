import { expect, it } from 'vitest'

import type { EventView } from '../api/event-schemas.ts'
import { Cli } from './cli.ts'
import { eventLine } from './event-line.ts'
import { isNotable } from './watch-events.ts'

const cli = new Cli(() => ({ color: false }))
const event = (facts: Partial<EventView>): EventView => ({
  seq: 1,
  entity: 'run',
  entityId: 'run-12',
  from: 'running',
  to: 'succeeded',
  cause: 'all steps succeeded',
  atMs: Date.UTC(2001, 1, 5, 12, 0, 3),
  calendarMs: 0,
  detail: null,
  ...facts,
})

it('says when, what, which way and why; as it happens without the day', () => {
  expect(eventLine(cli, event({}))).toBe('2001-02-05 12:00:03Z  run-12  running → succeeded  all steps succeeded')
  expect(eventLine(cli, event({ cause: '' }), 'clock')).toBe('12:00:03Z  run-12  running → succeeded')
})

it('names a verdict by its version', () => {
  const gate = event({ entity: 'gate', entityId: 'gate-1', from: null, to: 'passed', detail: { version: 'm@1' } })
  expect(eventLine(cli, gate, 'clock')).toBe('12:00:03Z  gate of m@1  passed  all steps succeeded')
})

it('tells of attempts and replicas only when they fail, and of a failed step by its run', () => {
  expect(isNotable({ entity: 'run', to: 'queued' })).toBe(true)
  expect(isNotable({ entity: 'attempt', to: 'running' })).toBe(false)
  expect(isNotable({ entity: 'attempt', to: 'failed' })).toBe(true)
  expect(isNotable({ entity: 'step', to: 'failed' })).toBe(false)
})
