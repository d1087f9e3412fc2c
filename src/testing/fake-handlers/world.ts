import { MillraceError } from '../../kernel/errors.ts'
import type { ClockView } from '../../surface/api/clock-schemas.ts'

/** When everything has happened. */
export const T0 = Date.UTC(2001, 1, 5, 12)

/** What the groups of handlers have in common. */
export class FakeWorld {
  /** Every call that changed something: `runs.start` and its input. */
  readonly calls: { procedure: string; input: unknown }[] = []
  /** What a started run comes to. */
  outcome: 'released' | 'spare' | 'gate-failed' | 'run-failed' | 'awaiting-approval' = 'released'
  readonly holds: ClockView['holds'] = []

  did(procedure: string, input: unknown): void {
    this.calls.push({ procedure, input })
  }
}

/** There is one model only. @throws NotFoundError */
export function requireModel(name: string): void {
  if (name !== 'late-flight') throw new NotFoundError(`model ${name}`)
}

export class NotFoundError extends MillraceError {
  constructor(what: string) {
    super({
      code: 'MR_TEST_NOT_FOUND',
      kind: 'not-found',
      message: `There is no ${what}.`,
      fix: "Run 'millrace models list'.",
    })
  }
}

export class ConflictError extends MillraceError {
  constructor(message: string) {
    super({ code: 'MR_TEST_CONFLICT', kind: 'conflict', message, fix: 'Look at the state first.' })
  }
}
