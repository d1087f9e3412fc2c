import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { findConfigFolder } from '../find-project.ts'

export function defineApply(program: Command, cli: Cli): void {
  program
    .command('apply [file]')
    .description('apply the configuration to the running Millrace as a new revision')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string | undefined) => {
      const { loadProject } = await import('../../../config/load.ts')
      const configPath = file ?? cli.globals.config ?? findConfigFolder(cli.cwd)
      const { project, source, sourcePath } = await loadProject({ configPath, cwd: cli.cwd })
      const { api } = await cli.connect()
      const revision = await api.project.apply({ source, sourcePath, project, by: cli.by })
      if (cli.json) return cli.document(revision)
      cli.line(`revision ${revision.revision} of ${revision.project}: ${revision.models.join(', ')}`)
      for (const change of revision.changes) cli.line(`  ${change}`)
      if (revision.changes.includes('gateway changed'))
        cli.note(
          "The gateway itself is started anew only by 'millrace down' and 'millrace up'; 'anonymous' holds at once.",
        )
    })
}

const EXAMPLES = `
Running runs and releases keep the revision that they were started with. A model that is no longer in the file is
paused, never deleted. Applying the same again makes no new revision.

Examples:
  millrace apply
  millrace apply --json
`
