import { MillraceError } from '../../kernel/errors.ts'

export class TriggerNotFoundError extends MillraceError {
  constructor(model: string, name: string | null, known: string[]) {
    super({
      code: 'MR_TRIGGER_NOT_FOUND',
      kind: 'not-found',
      message:
        name === null
          ? `Model ${model} has no trigger.`
          : `Model ${model} has no trigger '${name}'${known.length === 0 ? '' : `; it has ${known.join(', ')}`}.`,
      fix: `Run 'millrace triggers ${model}' to see them.`,
    })
  }
}

export class BackfillEndedError extends MillraceError {
  constructor(model: string, name: string, status: string) {
    super({
      code: 'MR_BACKFILL_ENDED',
      kind: 'conflict',
      message: `${name} of ${model} can't be cancelled: it is ${status}.`,
      fix: `Run 'millrace backfill list ${model}' to see how it ended.`,
    })
  }
}

export class TooManyBackfillsError extends MillraceError {
  constructor(model: string, limit: number) {
    super({
      code: 'MR_BACKFILLS_TOO_MANY',
      kind: 'exhausted',
      retryable: true,
      message: `${limit} backfills of ${model} are open already.`,
      fix: `Wait for one to end, or cancel one: 'millrace backfill list ${model}'.`,
    })
  }
}

export class BackfillRangeError extends MillraceError {
  constructor(message: string, fix: string) {
    super({ code: 'MR_BACKFILL_RANGE', kind: 'invalid', message, fix })
  }
}
