import { MillraceError } from '../../kernel/errors.ts'

/** What the shell sees. Scripts may rely on these; docs/reference/cli.md holds the table. */
export const EXIT = {
  ok: 0,
  failed: 1, // it was done, and its result is a failure: run, gate, release
  usage: 2, // wrong arguments or configuration
  notRunning: 3,
  notFound: 4,
  conflict: 5, // the state forbids it now
  unauthorized: 6,
  tryLater: 7, // unavailable, limit reached, no answer in time
  needsPerson: 8, // a version waits for approval
  defect: 70, // a defect of Millrace
  interrupted: 130,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export function exitCodeOf(error: unknown): ExitCode {
  if (!(error instanceof MillraceError)) return EXIT.defect
  if (error.code === 'MR_NOT_RUNNING') return EXIT.notRunning
  if (error.code.startsWith('MR_CONFIG_')) return EXIT.usage
  switch (error.kind) {
    case 'invalid':
    case 'too-large':
      return EXIT.usage
    case 'not-found':
      return EXIT.notFound
    case 'conflict':
      return EXIT.conflict
    case 'unauthorized':
      return EXIT.unauthorized
    case 'exhausted':
    case 'unavailable':
      return EXIT.tryLater
    case 'internal':
      return EXIT.defect
  }
}
