import { MillraceError } from '../errors.ts'

/** A statistic was asked for with numbers it is not defined for: a defect of the caller, named with the values. */
export class StatisticsInputError extends MillraceError {
  constructor(what: string) {
    super({
      code: 'MR_STATISTICS_INPUT',
      kind: 'internal',
      message: what,
      fix: 'This is a defect of Millrace: please report it with this message.',
    })
  }
}
