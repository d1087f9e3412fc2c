import { MillraceError } from '../../kernel/errors.ts'

export class AlertNotFoundError extends MillraceError {
  constructor(id: string) {
    super({
      code: 'MR_ALERT_NOT_FOUND',
      kind: 'not-found',
      message: `There is no alert '${id}'.`,
      fix: `Run 'millrace alerts --all' to see the alerts.`,
    })
  }
}

export class AlertResolvedError extends MillraceError {
  constructor(id: string, what: string) {
    super({
      code: 'MR_ALERT_RESOLVED',
      kind: 'conflict',
      message: `${id} is resolved: there is nothing left to ${what}.`,
      fix: `Run 'millrace alerts' to see what is open.`,
    })
  }
}
