import { MillraceError } from '../../kernel/errors.ts'

/** What the shell sees. Scripts may rely on these. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  notFound: 4,
  conflict: 5,
  unauthorized: 6,
  tryLater: 7,
  needsPerson: 8,
  defect: 70,
  interrupted: 130,
} as const

export const EXIT_MEANINGS: Record<keyof typeof EXIT, string> = {
  ok: 'done',
  failed: 'it was done, and its result is a failure: a run, a gate or a release failed, the log does not agree',
  usage: 'wrong arguments, input or configuration',
  notRunning: "nothing runs for this data directory: 'millrace up'",
  notFound: 'there is no such model, version, run, release or endpoint',
  conflict: 'the state forbids it now, for example a second `up`, or a version that is live already',
  unauthorized: 'no token, or a wrong one',
  tryLater: 'something is unavailable, a limit is reached, or there was no answer in time',
  needsPerson: 'a version waits for approval, or a canary is held',
  defect: 'a defect of Millrace: run it again with `MILLRACE_DEBUG=1` and report it',
  interrupted: 'Ctrl-C',
}

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
