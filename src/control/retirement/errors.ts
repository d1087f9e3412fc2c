import { MillraceError } from '../../kernel/errors.ts'

export class VersionDeletedError extends MillraceError {
  constructor(versionId: string, what: string) {
    super({
      code: 'MR_VERSION_DELETED',
      kind: 'conflict',
      message: `${versionId} is deleted: its files are gone for good, so it can't be used for ${what}.`,
      fix: `Run 'millrace models' for the versions that are left, or train it again from its lineage: 'millrace models show ${versionId}'.`,
    })
  }
}

export class VersionHeldError extends MillraceError {
  constructor(versionId: string, heldBy: string[]) {
    super({
      code: 'MR_VERSION_IN_USE',
      kind: 'conflict',
      message: `${versionId} can't be retired: it is in use (${heldBy.join('; ')}).`,
      fix: `End what holds it, then retire it: 'millrace retirement --explain' shows what holds which version.`,
    })
  }
}

export class NotRetiredError extends MillraceError {
  constructor(versionId: string, status: string, wanted: 'revived' | 'retired') {
    const word = wanted === 'revived' ? 'not out of service' : 'on its way out already'
    super({
      code: 'MR_RETIREMENT_STATE',
      kind: 'conflict',
      message: `${versionId} can't be ${wanted}: it is ${status}, ${word}.`,
      fix: `Run 'millrace retirement --explain' to see every version's state.`,
    })
  }
}
