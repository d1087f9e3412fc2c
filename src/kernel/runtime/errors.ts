import { MillraceError } from '../errors.ts'

/** The data directory cannot be used: read-only, full, not a directory, owned by somebody else. */
export class DataDirError extends MillraceError {
  constructor(path: string, why: string, fix: string, cause?: unknown) {
    super({ code: 'MR_DATA_DIR', kind: 'unavailable', message: `Cannot use '${path}': ${why}.`, fix, cause })
  }
}

export class SocketDirError extends MillraceError {
  constructor(path: string, why: string, fix: string) {
    super({ code: 'MR_SOCKET_DIR', kind: 'unavailable', message: `Cannot use '${path}' for sockets: ${why}.`, fix })
  }
}

export class ProcessRecordError extends MillraceError {
  constructor(path: string, why: string, cause?: unknown) {
    super({
      code: 'MR_PROCESS_RECORD',
      kind: 'internal',
      message: `The process record '${path}' cannot be read: ${why}.`,
      fix: 'Stop the process it stands for, if it still runs, and delete the file.',
      cause,
    })
  }
}

/** A process could not be started at all: command missing, no memory, no permission. */
export class SpawnError extends MillraceError {
  constructor(command: string, why: string, cause?: unknown) {
    super({
      code: 'MR_SPAWN',
      kind: 'unavailable',
      message: `Cannot start '${command}': ${why}.`,
      fix: 'Check that the file exists and may be executed, and that the machine has memory and process slots left.',
      retryable: true,
      cause,
    })
  }
}

/** The attempt was given up before its process had begun; nothing of it has run. */
export class StepGivenUpError extends MillraceError {
  constructor(dir: string) {
    super({
      code: 'MR_STEP_GIVEN_UP',
      kind: 'conflict',
      message: `The step in '${dir}' was given up before it began, or has run there before.`,
      fix: 'Start another attempt in a directory of its own.',
    })
  }
}

/** Processes that outlived SIGKILL and the wait after it (stuck in the kernel, or not ours to signal). */
export class ProcessSurvivedError extends MillraceError {
  constructor(pids: readonly number[], waitedMs: number) {
    super({
      code: 'MR_PROCESS_SURVIVED',
      kind: 'unavailable',
      message: `Processes ${pids.join(', ')} still run ${waitedMs} ms after SIGKILL.`,
      fix: `Look at them with 'ps -o pid,stat,wchan,cmd -p ${pids.join(',')}'; state D means that they wait for a disk.`,
      retryable: true,
    })
  }
}

export class JobTimedOutError extends MillraceError {
  constructor(kind: string, timeoutMs: number) {
    super({
      code: 'MR_JOB_TIMED_OUT',
      kind: 'unavailable',
      message: `The ${kind} job took longer than ${timeoutMs} ms and was stopped.`,
      fix: 'Give it less data or a longer time-out.',
      retryable: true,
    })
  }
}

export class JobFailedError extends MillraceError {
  constructor(kind: string, why: string, retryable: boolean) {
    super({
      code: 'MR_JOB_FAILED',
      kind: 'internal',
      message: `The ${kind} job ended without a result: ${why}.`,
      fix: 'A kill by the system (out of memory) is the usual reason: look at the machine, then try again.',
      retryable,
    })
  }
}

export class EnvironmentError extends MillraceError {
  constructor(what: string, why: string, fix: string, retryable = false) {
    super({ code: 'MR_ENVIRONMENT', kind: 'unavailable', message: `Cannot build the ${what}: ${why}.`, fix, retryable })
  }
}
