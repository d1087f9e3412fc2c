import { MillraceError } from '../kernel/errors.ts'

/** One thing wrong with a configuration, and where. */
export interface ConfigProblem {
  /** As shown: relative to the working directory where it is below it. */
  file: string
  /** From 1; null where the place can't be told, for example of values that code computed. */
  line: number | null
  column: number | null
  /** `models.late-flight.gate.margin`; empty for the file as a whole. */
  field: string
  /** What is written there, as JSON and cut; null where nothing is. */
  value: string | null
  /** Follows the field's name: `must be …`. */
  message: string
  /** The next move, one sentence. */
  fix: string
}

/** The configuration can't be used; every problem that was found is listed. */
export class ConfigError extends MillraceError {
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super({ code: 'MR_CONFIG_INVALID', kind: 'invalid', message: problems.map(renderProblem).join('\n') })
    this.problems = problems
  }

  override toJSON(): ReturnType<MillraceError['toJSON']> & { problems: readonly ConfigProblem[] } {
    return { ...super.toJSON(), problems: this.problems }
  }
}

/** No configuration file where one was looked for. */
export class ConfigNotFoundError extends MillraceError {
  constructor(looked: string, names: readonly string[]) {
    super({
      code: 'MR_CONFIG_NOT_FOUND',
      kind: 'not-found',
      message: `There is no configuration at ${looked}.`,
      fix: `Create ${names[0]} (or ${names.slice(1).join(', ')}) with 'millrace init', or change to the project's folder.`,
    })
  }
}

/** Something is there, or may be, that can't be looked at. */
export class ConfigUnreadableError extends MillraceError {
  constructor(looked: string, cause: Error) {
    super({
      code: 'MR_CONFIG_UNREADABLE',
      kind: 'invalid',
      message: `The configuration at ${looked} can't be read: ${cause.message}.`,
      fix: 'See that the path is right, and that you may read it and the folders above it.',
      cause,
    })
  }
}

/** Two configuration files, of which only one could count. */
export class ConfigAmbiguousError extends MillraceError {
  constructor(folder: string, found: readonly string[]) {
    super({
      code: 'MR_CONFIG_AMBIGUOUS',
      kind: 'conflict',
      message: `There is more than one configuration in ${folder}: ${found.join(' and ')}.`,
      fix: 'Keep one of them, or name the one you mean with --config.',
    })
  }
}

/** `millrace.config.ts:14:5  models.late-flight.gate.margin: must be … (is "abc"). Fix: …` */
export function renderProblem(problem: ConfigProblem): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== null).join(':')
  const subject = problem.field === '' ? '' : `${problem.field}: `
  const value = problem.value === null ? '' : ` (is ${problem.value})`
  return `${place}  ${subject}${problem.message}${value}. Fix: ${problem.fix}`
}
