import type { Command } from 'commander'

import type { Cli } from '../cli.ts'

export function defineInit(program: Command, cli: Cli): void {
  program
    .command('init [folder]')
    .description('write a commented project that runs as it is')
    .option('--template <name>', 'starter (Node alone) or sklearn (Python)', 'starter')
    .option('--force', 'overwrite files that are there')
    .addHelpText('after', '\nExamples:\n  millrace init\n  millrace init churn --template sklearn\n')
    .action(async (folder: string | undefined, options: { template: string; force?: boolean }) => {
      const { initProject } = await import('../init/init.ts')
      const dir = folder ?? '.'
      const files = await initProject({ dir, template: options.template, force: options.force ?? false })
      if (cli.json) return cli.document({ dir, template: options.template, files })
      for (const file of files) cli.line(`  ${file}`)
      cli.line(`\nNext:${folder === undefined ? '' : ` cd ${shellWord(folder)} &&`} ${cli.command} up`)
    })
}

const shellWord = (text: string) => (/^[\w./~+@%:,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)
