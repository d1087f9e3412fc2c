import { MillraceError } from '../../../kernel/errors.ts'

/** Nothing is written where something would be overwritten. */
export class InitFilesExistError extends MillraceError {
  readonly files: readonly string[]

  constructor(dir: string, files: readonly string[]) {
    super({
      code: 'MR_INIT_FILES_EXIST',
      kind: 'conflict',
      message: `${dir} already has ${files.slice(0, 5).join(', ')}${files.length > 5 ? ` and ${files.length - 5} more` : ''}; nothing was written.`,
      fix: 'Name another folder, or overwrite these files with --force.',
    })
    this.files = files
  }
}

export class TemplateUnknownError extends MillraceError {
  constructor(template: string, known: readonly string[]) {
    super({
      code: 'MR_INIT_TEMPLATE_UNKNOWN',
      kind: 'invalid',
      message: `There is no template ${JSON.stringify(template)}.`,
      fix: `Use --template ${known.join(' or --template ')}.`,
    })
  }
}

export class InitDirError extends MillraceError {
  constructor(dir: string, why: string) {
    super({
      code: 'MR_INIT_DIR',
      kind: 'invalid',
      message: `Can't write to ${dir}: ${why}.`,
      fix: 'Name a folder that you may write to.',
    })
  }
}
