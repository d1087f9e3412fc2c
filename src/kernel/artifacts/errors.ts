import { MillraceError } from '../errors.ts'

export class ArtifactDigestError extends MillraceError {
  constructor(digest: unknown) {
    super({
      code: 'MR_ARTIFACT_DIGEST',
      kind: 'invalid',
      message: `${JSON.stringify(digest)?.slice(0, 120)} is not an artifact digest.`,
      fix: "Digests are 'sha256:' and 64 lower-case hexadecimal digits.",
    })
  }
}

export class ArtifactNotFoundError extends MillraceError {
  constructor(digest: string) {
    super({
      code: 'MR_ARTIFACT_NOT_FOUND',
      kind: 'not-found',
      message: `The artifact ${digest} is not in the store.`,
      fix: 'Check that this is the right data directory; if the file was deleted, restore it or run the training again.',
    })
  }
}

export class ArtifactCorruptError extends MillraceError {
  constructor(digest: string, path: string, found: string) {
    super({
      code: 'MR_ARTIFACT_CORRUPT',
      kind: 'internal',
      message: `The artifact ${digest} has changed on disk: '${path}' hashes to ${found}.`,
      fix: 'Check the disk; restore the file from a backup, or run again what made it.',
    })
  }
}

export class ArtifactTreeError extends MillraceError {
  constructor(path: string, why: string, fix: string) {
    super({
      code: 'MR_ARTIFACT_TREE',
      kind: 'invalid',
      message: `The directory entry ${JSON.stringify(path)} cannot be kept: ${why}.`,
      fix,
    })
  }
}
