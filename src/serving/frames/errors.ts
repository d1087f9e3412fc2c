import { MillraceError } from '../../kernel/errors.ts'

/** Bytes on a connection between gateway and model server that are no frame, or none that is allowed there. */
export class FrameError extends MillraceError {
  constructor(why: string) {
    super({
      code: 'MR_FRAME',
      kind: 'internal',
      message: `A frame can't be read: ${why}.`,
      fix: 'The connection is closed and opened anew. If it happens again, gateway and model server are of versions that do not fit.',
    })
  }
}
