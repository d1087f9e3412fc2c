import { MillraceError } from '../../../kernel/errors.ts'

/** The address can't be listened on. */
export class ListenError extends MillraceError {
  constructor(address: string, cause: NodeJS.ErrnoException) {
    const taken = cause.code === 'EADDRINUSE'
    super({
      code: 'MR_LISTEN',
      kind: 'conflict',
      message: `Cannot listen on ${address}: ${taken ? 'something else does already' : cause.message}.`,
      fix: taken ? 'Stop the other process, or choose another port with --port.' : 'Choose another address or port.',
      cause,
    })
  }
}

/** Several processes were to listen on one port, which this system does not offer. */
export class SharedPortError extends MillraceError {
  constructor(address: string, cause: unknown) {
    super({
      code: 'MR_LISTEN_SHARED',
      kind: 'invalid',
      message: `Cannot share ${address} between processes: this system has no SO_REUSEPORT that spreads connections.`,
      fix: "Set 'gateway.processes' to 1, or run on Linux, FreeBSD 12 or later, Solaris or AIX.",
      cause,
    })
  }
}

/** The files of certificate, key or authorities can't be used; where others are in use already, they stay so. */
export class TlsFilesError extends MillraceError {
  constructor(path: string, why: string, cause?: unknown) {
    super({
      code: 'MR_TLS_FILES',
      kind: 'invalid',
      message: `The TLS file ${path} can't be used: ${why}.`,
      fix: 'Give PEM files that belong together: the certificate with its chain, its unencrypted key, and the authorities.',
      cause,
    })
  }
}

/** A handler's answer has a header that is no header. */
export class AnswerHeaderError extends MillraceError {
  constructor(name: string) {
    super({
      code: 'MR_ANSWER_HEADER',
      kind: 'internal',
      message: `An answer has the header ${JSON.stringify(name.slice(0, 60))}, whose name or value can't be sent over HTTP.`,
      fix: 'This is a defect of Millrace: please report it with this message.',
    })
  }
}
