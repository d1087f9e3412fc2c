import { MillraceError } from './errors.ts'

/**
 * A table of states and the events they take. Declared once per noun; docs and tests are drawn from `table`.
 * @example
 * const door = stateMachine('door', { open: { shut: 'closed' }, closed: { push: 'open' } })
 * door.transition('open', 'shut') // 'closed'
 */
export interface StateMachine<S extends string, E extends string> {
  readonly name: string
  readonly states: readonly S[]
  readonly table: Readonly<Record<S, Partial<Record<E, S>>>>
  /** @throws IllegalTransitionError where the table has no such pair */
  transition(current: S, event: E): S
  /** True when no event leaves the state. */
  isFinal(state: S): boolean
  /** The stored text as a state. @throws IllegalTransitionError on a text that is none */
  parse(text: string): S
}

export function stateMachine<S extends string, E extends string>(
  name: string,
  table: Record<S, Partial<Record<E, S>>>,
): StateMachine<S, E> {
  const states = Object.keys(table) as S[]
  return {
    name,
    states,
    table,
    transition(current, event) {
      const row: Partial<Record<E, S>> = Object.hasOwn(table, current) ? table[current] : {}
      const next = Object.hasOwn(row, event) ? row[event] : undefined
      if (next === undefined) throw new IllegalTransitionError(name, current, event)
      return next
    },
    isFinal: (state) => Object.keys(table[state]).length === 0,
    parse(text) {
      if (!states.includes(text as S)) throw new IllegalTransitionError(name, text, 'read')
      return text as S
    },
  }
}

export class IllegalTransitionError extends MillraceError {
  constructor(machine: string, current: string, event: string) {
    super({
      code: 'MR_ILLEGAL_TRANSITION',
      kind: 'conflict',
      message: `A ${machine} that is '${current}' does not take '${event}'.`,
      fix: `Look at its current state with 'millrace status' and try again.`,
    })
  }
}
