/**
 * A model server of somebody else's, about to be started: any command that speaks the Open Inference Protocol v2 over
 * HTTP. The same plan serves, evaluates and is preflighted, so that what is measured is what answers.
 */
export interface ServerPlan {
  /** Run by /bin/sh in a process group of its own. */
  command: string
  /** Absolute; the folder it runs in. */
  cwd: string
  /** Laid over what Millrace itself was started with, without Millrace's own variables. */
  env: Record<string, string>
  /** MILLRACE_MODEL_DIR: the version's files. */
  modelDir: string
  /** MILLRACE_MODEL_NAME: what it calls the model, `/v2/models/<name>`. */
  modelName: string
  /** MILLRACE_MODEL_VERSION. */
  version: string
  readyTimeoutMs: number
  /** Output of the command is appended here, and cut in the middle where it gets long. */
  logPath: string
  /** It stands before the model instead of being it. Absent: it is the model's server. */
  role?: 'prepare'
}

/** A preparing step of somebody else's, about to be started: the same kind of command, before a model of Millrace's own. */
export interface PreparePlan extends ServerPlan {
  role: 'prepare'
  /** One request of it may take so long. */
  timeoutMs: number
}
