import { MillraceError } from '../errors.ts'

/** The command ended, or was not ready in time. */
export class ServerStartError extends MillraceError {
  constructor(command: string, why: string, lastWords: string) {
    super({
      code: 'MR_SERVER_START',
      kind: 'invalid',
      message: `The model server '${short(command)}' did not get ready: ${why}.${lastWords === '' ? '' : ` Its last words: ${lastWords}`}`,
      fix: "It must listen on 127.0.0.1:$PORT and answer GET /v2/health/ready and GET /v2/models/$MILLRACE_MODEL_NAME/ready with 200. Run it by hand, or raise 'serving.server.readyTimeout'.",
      retryable: false,
    })
  }
}

/** What it says of its model can't be used. */
export class ServerMetadataError extends MillraceError {
  constructor(model: string, why: string) {
    super({
      code: 'MR_SERVER_METADATA',
      kind: 'invalid',
      message: `The model server's GET /v2/models/${model} can't be used: ${why}.`,
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

const COMMAND_SHOWN = 120

const short = (command: string) => (command.length > COMMAND_SHOWN ? `${command.slice(0, COMMAND_SHOWN)}…` : command)
