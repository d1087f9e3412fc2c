import { join } from 'node:path'
import type { Attempt, Run, Step } from './run.ts'

/**
 * The training contract: what a step finds in its environment and on its command line (docs/reference/training.md).
 * @param inputs - name → path, of every declared input
 * @param inherited - the environment Millrace runs in, and what the step's `environment` adds
 */
export function stepEnvironment(
  run: Run,
  step: Step,
  attempt: Attempt,
  inputs: Record<string, string>,
  inherited: Record<string, string>,
): Record<string, string> {
  const modelDir = join(attempt.dir, 'model')
  const params = Object.entries(run.params)
  return {
    ...inherited,
    ...step.spec.env,
    ...Object.fromEntries(params.map(([name, value]) => [`MILLRACE_PARAM_${variable(name)}`, String(value)])),
    ...Object.fromEntries(Object.entries(inputs).map(([name, path]) => [`MILLRACE_INPUT_${variable(name)}`, path])),
    ...Object.fromEntries(Object.entries(inputs).map(([name, path]) => [`SM_CHANNEL_${variable(name)}`, path])),
    MILLRACE_PARAMS: join(attempt.dir, 'params.json'),
    MILLRACE_MODEL_DIR: modelDir,
    MILLRACE_OUTPUT_DIR: join(attempt.dir, 'output'),
    MILLRACE_AS_OF: new Date(run.asOfMs).toISOString(),
    MILLRACE_SEED: String(run.seed),
    MILLRACE_RUN_ID: run.id,
    MILLRACE_STEP: step.name,
    MILLRACE_ATTEMPT: String(attempt.number),
    MILLRACE_ATTEMPT_TOKEN: attempt.token,
    SM_MODEL_DIR: modelDir,
    SM_HPS: JSON.stringify(run.params),
    AIP_MODEL_DIR: modelDir,
    PYTHONUNBUFFERED: '1',
  }
}

/** The command with its parameters as `--name value`, names and values quoted for /bin/sh. */
export function stepCommand(step: Step, run: Run): string {
  if (!step.spec.args) return step.spec.command
  const args = Object.entries(run.params).map(([name, value]) => `${quote(`--${name}`)} ${quote(String(value))}`)
  return [step.spec.command, ...args].join(' ')
}

const variable = (name: string) => name.toUpperCase().replace(/[^A-Z0-9]/g, '_')

const quote = (text: string) => (/^[\w.+,:/@=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)
