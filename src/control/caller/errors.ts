import { MillraceError } from '../../kernel/errors.ts'
import { CALLERS_MAX, KEYS_MAX } from './caller.ts'

export class CallerUnknownError extends MillraceError {
  constructor(name: string) {
    super({
      code: 'MR_CALLER_UNKNOWN',
      kind: 'not-found',
      message: `There is no caller '${name}'.`,
      fix: `Run 'millrace callers' to see them, or 'millrace callers add ${name}' to make it known.`,
    })
  }
}

export class CallerExistsError extends MillraceError {
  constructor(name: string, revoked: boolean) {
    super({
      code: 'MR_CALLER_EXISTS',
      kind: 'conflict',
      message: `There is a caller '${name}' already${revoked ? ', who was revoked: its name stays its own' : ''}.`,
      fix: revoked ? 'Choose another name.' : `Run 'millrace callers rotate ${name}' for a new key of it.`,
    })
  }
}

export class CallerNameError extends MillraceError {
  constructor(name: string) {
    super({
      code: 'MR_CALLER_NAME',
      kind: 'invalid',
      message: `A caller can't be called '${name}', which stands for everybody without a key or a certificate.`,
      fix: 'Choose another name.',
    })
  }
}

export class CallerRevokedError extends MillraceError {
  constructor(name: string, by: string) {
    super({
      code: 'MR_CALLER_REVOKED',
      kind: 'conflict',
      message: `Caller '${name}' was revoked by ${by}.`,
      fix: `Add a new one under another name: 'millrace callers add <name>'.`,
    })
  }
}

export class TooManyCallersError extends MillraceError {
  constructor() {
    super({
      code: 'MR_CALLERS_MAX',
      kind: 'exhausted',
      message: `There are ${CALLERS_MAX} callers, which is the limit: every gateway holds all of them.`,
      fix: `Let several programs share one, or revoke those that are of no use any more: 'millrace callers'.`,
    })
  }
}

export class TooManyKeysError extends MillraceError {
  constructor(name: string) {
    super({
      code: 'MR_CALLER_KEYS_MAX',
      kind: 'conflict',
      message: `Caller '${name}' has ${KEYS_MAX} keys that work, which is the limit.`,
      fix: `Wait for one to end, or end the others at once: 'millrace callers rotate ${name} --keep 0s'.`,
    })
  }
}

export class CommonNameTakenError extends MillraceError {
  constructor(commonName: string, owner: string) {
    super({
      code: 'MR_COMMON_NAME_TAKEN',
      kind: 'conflict',
      message: `Client certificates of '${commonName}' are caller '${owner}' already.`,
      fix: 'A certificate is one caller: revoke that one first, or use another common name.',
    })
  }
}

export class NotPinnedError extends MillraceError {
  constructor(caller: string, endpoint: string) {
    super({
      code: 'MR_NOT_PINNED',
      kind: 'conflict',
      message: `Caller '${caller}' is not pinned on endpoint '${endpoint}'.`,
      fix: `Run 'millrace callers' to see the pins.`,
    })
  }
}

export class NotAllowedThereError extends MillraceError {
  constructor(caller: string, endpoint: string, allowed: string[]) {
    super({
      code: 'MR_CALLER_NOT_ALLOWED',
      kind: 'conflict',
      message: `Caller '${caller}' may not call endpoint '${endpoint}', only ${allowed.join(', ')}.`,
      fix: 'Pin it on an endpoint that it may call.',
    })
  }
}

export class NeverReleasedError extends MillraceError {
  constructor(versionId: string, endpoint: string) {
    super({
      code: 'MR_PIN_UNPROVEN',
      kind: 'conflict',
      message: `${versionId} was never released on endpoint '${endpoint}', so nobody can be pinned to it.`,
      fix: `Release it first: 'millrace release ${versionId} --why …'.`,
    })
  }
}
