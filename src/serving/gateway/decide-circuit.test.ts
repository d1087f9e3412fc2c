import { describe, expect, it } from 'vitest'
import { circuitAfter, circuitLimits, closedCircuit, decideAdmission } from './decide-circuit.ts'
import type { CircuitEvent, CircuitState } from './decide-circuit.ts'

const NOW = 1_000_000
const step = (state: CircuitState, event: CircuitEvent, nowMs = NOW) => circuitAfter(state, event, circuitLimits, nowMs)
const nine: CircuitState = { kind: 'closed', unanswered: 9 }
const open: CircuitState = { kind: 'open', untilMs: NOW + 500, times: 1 }
const halfOpen: CircuitState = { kind: 'half-open', times: 1 }

describe('a circuit', () => {
  it.each<[CircuitState, CircuitEvent, CircuitState]>([
    [closedCircuit, 'answered', closedCircuit],
    [closedCircuit, 'unanswered', { kind: 'closed', unanswered: 1 }],
    [closedCircuit, 'try', closedCircuit],
    [closedCircuit, 'given-up', closedCircuit],
    [nine, 'answered', closedCircuit],
    [nine, 'unanswered', { kind: 'open', untilMs: NOW + 1_000, times: 1 }],
    [nine, 'try', nine],
    [nine, 'given-up', nine],
    [open, 'answered', closedCircuit],
    [open, 'unanswered', open],
    [open, 'try', halfOpen],
    [open, 'given-up', open],
    [halfOpen, 'answered', closedCircuit],
    [halfOpen, 'unanswered', { kind: 'open', untilMs: NOW + 2_000, times: 2 }],
    [halfOpen, 'try', halfOpen],
    [halfOpen, 'given-up', { kind: 'open', untilMs: NOW, times: 1 }],
    [nine, 'awake', nine],
    [open, 'awake', { kind: 'open', untilMs: NOW, times: 1 }],
    [{ ...open, untilMs: NOW - 1 }, 'awake', { ...open, untilMs: NOW - 1 }],
    [halfOpen, 'awake', halfOpen],
  ])('that is %o is, after %s, %o', (before, event, after) => {
    expect(step(before, event)).toEqual(after)
  })

  it('stays open for twice as long each time, up to thirty seconds', () => {
    const durations: number[] = []
    let state: CircuitState = nine
    for (let i = 0; i < 8; i++) {
      state = step(state, 'unanswered')
      if (state.kind === 'open') durations.push(state.untilMs - NOW)
      state = step(state, 'try')
    }
    expect(durations).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  })

  it('costs nothing while all goes well: its state stays the same object', () => {
    expect(step(closedCircuit, 'answered')).toBe(closedCircuit)
  })
})

describe('admission', () => {
  it('passes while closed, refuses until the time is over, and then lets one try', () => {
    expect(decideAdmission(nine, 1_000, NOW)).toEqual({ kind: 'pass' })
    expect(decideAdmission(open, 1_000, NOW)).toEqual({ kind: 'refuse', retryAfterMs: 500 })
    expect(decideAdmission(open, 1_000, NOW + 500)).toEqual({ kind: 'try' })
    expect(decideAdmission(halfOpen, 1_000, NOW)).toEqual({ kind: 'refuse', retryAfterMs: 1_000 })
  })
})
