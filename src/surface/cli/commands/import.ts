import path from 'node:path'
import type { Command } from 'commander'

import type { ErrorFacts } from '../../../kernel/errors.ts'
import type { Cli } from '../cli.ts'
import { UsageError } from '../errors.ts'

interface ImportOptions {
  model?: string
  as?: string
  why: string
}

export function defineImport(program: Command, cli: Cli): void {
  program
    .command('import <file>')
    .description('bring in a model file that was made elsewhere, as a version')
    .option('--model <name>', 'the model it becomes a version of (default: the only one declared)')
    .option(
      '--as <alias>',
      "'champion': the incumbent, released without a comparison; otherwise it goes through the gate",
    )
    .option('--why <text>', 'the reason, kept with the version', 'imported by hand')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, options: ImportOptions) => {
      const { as: alias } = options
      if (alias !== undefined && alias !== 'champion')
        throw new UsageError(`--as can be champion only, not '${alias}'.`, 'Write --as champion, or leave it out.')
      const { api } = await cli.connect()
      const model = options.model ?? (await onlyModel(api))
      const from = file.startsWith('sha256:') ? { digest: file } : { path: path.resolve(cli.cwd, file) }
      const { RemoteError } = await import('../../client/errors.ts')
      const as = alias ?? null
      const version = await api.versions
        .import({ model, from, as, why: options.why, by: cli.by })
        .catch((error: unknown) => {
          throw error instanceof RemoteError ? new RemoteError(named(error.toJSON(), file)) : error
        })
      if (cli.json) return cli.document(version)
      cli.line(`${version.ref}  ${cli.status(version.status)}  ${version.releaseWhy ?? version.why ?? ''}`.trimEnd())
    })
}

/** What is read is the copy that Millrace keeps, which nobody knows by its path. */
const named = (facts: ErrorFacts, file: string): ErrorFacts => ({
  ...facts,
  message: facts.message.replace(/\S*\/artifacts\/sha256\/\S+/, file),
})

async function onlyModel(api: Awaited<ReturnType<Cli['connect']>>['api']): Promise<string> {
  const models = await api.models.list()
  const [only] = models
  if (only !== undefined && models.length === 1) return only.name
  const names = models.map((m) => m.name).join(', ')
  throw new UsageError(
    `There are ${models.length} models, so --model is needed.`,
    names === '' ? 'Declare one and apply it.' : `Use one of ${names}.`,
  )
}

const EXAMPLES = `
The file is read by the control plane: it must lie on the machine where that runs.

Examples:
  millrace import model.onnx --as champion --why "what served until now"
  millrace import candidate.onnx --model late-flight
`
