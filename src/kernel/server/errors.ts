import { MillraceError } from '../errors.ts'

/** What such a command is called, by the part that it plays; the field of `serving` has the same name as the part. */
const CALLED: Record<ServerRole, string> = { server: 'model server', prepare: 'preparing step' }

export type ServerRole = 'server' | 'prepare'

/** The command ended, or was not ready in time. */
export class ServerStartError extends MillraceError {
  constructor(command: string, why: string, lastWords: string, role: ServerRole = 'server') {
    super({
      code: 'MR_SERVER_START',
      kind: 'invalid',
      message: `The ${CALLED[role]} '${short(command)}' did not get ready: ${why}.${lastWords === '' ? '' : ` Its last words: ${lastWords}`}`,
      fix: `It must listen on 127.0.0.1:$PORT and answer GET /v2/health/ready and GET /v2/models/$MILLRACE_MODEL_NAME/ready with 200. Run it by hand, or raise 'serving.${role}.readyTimeout'.`,
      retryable: false,
    })
  }
}

/** What it says of its model can't be used. */
export class ServerMetadataError extends MillraceError {
  constructor(model: string, why: string, role: ServerRole = 'server') {
    super({
      code: 'MR_SERVER_METADATA',
      kind: 'invalid',
      message: `The ${CALLED[role]}'s GET /v2/models/${model} can't be used: ${why}.`,
      fix: "Have it tell name, datatype and shape of every input and output; with MLServer as 'inputs' and 'outputs' in model-settings.json.",
      retryable: false,
    })
  }
}

/** It answered a request for predictions by an error, by nothing, or by something else than the protocol has. */
export class ServerAnswerError extends MillraceError {
  constructor(model: string, why: string, cause?: unknown) {
    super({
      code: 'MR_SERVER_ANSWER',
      kind: 'invalid',
      message: `The model server failed to predict with '${model}': ${why}.`,
      fix: 'Send it the same rows by hand, and look at its log.',
      retryable: false,
      cause,
    })
  }
}

/** Each part of the pair is fine, and they don't belong together. */
export class PrepareFitError extends MillraceError {
  /** @param misfits - each a sentence without its stop */
  constructor(misfits: readonly string[], wanted: string) {
    super({
      code: 'MR_PREPARE_FIT',
      kind: 'invalid',
      message: `The preparing step does not fit the model: ${misfits.join('; ')}.`,
      fix: `Have its GET /v2/models/<name> declare as outputs, and its answers have, what the model takes: ${wanted}.`,
      retryable: false,
    })
  }
}

/** It could not prepare what it was sent, or answered what is of no use to the model. */
export class PrepareAnswerError extends MillraceError {
  /** Where the answer itself is to blame and not the values that it was asked about. */
  readonly isMisfit: boolean
  readonly why: string

  constructor(why: string, isMisfit: boolean, cause?: unknown) {
    super({
      code: 'MR_PREPARE_ANSWER',
      kind: 'invalid',
      message: `The preparing step failed: ${why}.`,
      fix: 'Send it the same rows by hand, and look at its log.',
      retryable: false,
      cause,
    })
    this.isMisfit = isMisfit
    this.why = why
  }
}

const COMMAND_SHOWN = 120

const short = (command: string) => (command.length > COMMAND_SHOWN ? `${command.slice(0, COMMAND_SHOWN)}…` : command)
