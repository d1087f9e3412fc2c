import { MillraceError } from '../../kernel/errors.ts'

/** The holdout (or the training rows) can't be read as declared. */
export class SourceError extends MillraceError {
  constructor(facts: {
    code: 'MR_SOURCE_MISSING' | 'MR_SOURCE_FORMAT' | 'MR_SOURCE_QUERY' | 'MR_SOURCE_EMPTY'
    message: string
    fix: string
    cause?: unknown
  }) {
    super({ ...facts, kind: 'invalid' })
  }
}

/** A column that the label, the clusters or a model need is not there, or is of a type that no input takes. */
export class SourceColumnError extends MillraceError {
  constructor(facts: { message: string; fix: string }) {
    super({ ...facts, code: 'MR_SOURCE_COLUMN', kind: 'invalid' })
  }
}

/** One value that a model's input can't hold. */
export class SourceValueError extends MillraceError {
  constructor(facts: { message: string; fix: string; cause: unknown }) {
    super({ ...facts, code: 'MR_SOURCE_VALUE', kind: 'invalid' })
  }
}

/** The labels can't be judged by: missing, not numbers, one class only, more than two values. */
export class LabelError extends MillraceError {
  constructor(facts: { message: string; fix: string }) {
    super({ ...facts, code: 'MR_LABEL', kind: 'invalid' })
  }
}

/** Which output is the score can't be told, or it has the wrong type or shape. */
export class ScoreOutputError extends MillraceError {
  constructor(facts: { message: string; fix: string }) {
    super({ ...facts, code: 'MR_SCORE_OUTPUT', kind: 'invalid' })
  }
}

/** A score that is no number, or no probability for a binary task. */
export class ScoreValueError extends MillraceError {
  constructor(facts: { message: string; fix: string }) {
    super({ ...facts, code: 'MR_SCORE_VALUE', kind: 'invalid' })
  }
}

/** The configuration changed between the start of an evaluation and its job. */
export class NoLongerDeclaredError extends MillraceError {
  constructor(version: string, missing: string[]) {
    super({
      code: 'MR_NO_LONGER_DECLARED',
      kind: 'conflict',
      message: `${version} can't be evaluated: ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} no longer declared.`,
      fix: 'Declare it again and train once more, or approve the version by hand.',
    })
  }
}
