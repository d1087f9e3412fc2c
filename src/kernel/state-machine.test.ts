import { describe, expect, it } from 'vitest'
import { IllegalTransitionError, stateMachine } from './state-machine.ts'

const door = stateMachine<'open' | 'closed' | 'bricked', 'shut' | 'push' | 'brick'>('door', {
  open: { shut: 'closed' },
  closed: { push: 'open', brick: 'bricked' },
  bricked: {},
})

describe('a state machine', () => {
  it('goes where its table says', () => {
    expect(door.transition('open', 'shut')).toBe('closed')
  })

  it('refuses a pair that is not in its table, naming both', () => {
    expect(() => door.transition('open', 'push')).toThrow("A door that is 'open' does not take 'push'.")
  })

  it.each(['constructor', 'toString', '__proto__'])('does not take %s, which every object has', (event) => {
    expect(() => door.transition('open', event as never)).toThrow(IllegalTransitionError)
    expect(() => door.parse(event)).toThrow(IllegalTransitionError)
  })

  it('knows which states are final', () => {
    expect(door.states.filter((state) => door.isFinal(state))).toEqual(['bricked'])
  })

  it('reads its own states and no other text', () => {
    expect(door.parse('closed')).toBe('closed')
    expect(() => door.parse('ajar')).toThrow("A door that is 'ajar' does not take 'read'.")
  })
})
