import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { findConfigFolder } from '../find-project.ts'

export function defineValidate(program: Command, cli: Cli): void {
  program
    .command('validate [file]')
    .description('check the configuration; says line, field, value and fix of every problem')
    .addHelpText('after', '\nExamples:\n  millrace validate\n  millrace validate staging/millrace.yaml --json\n')
    .action(async (file: string | undefined) => {
      const [{ loadProject }, { missingForAutomation }, { holdoutWarning }, { missingFiles }] = await Promise.all([
        import('../../../config/load.ts'),
        import('../../../config/missing-for-automation.ts'),
        import('../../../config/holdout-in-training.ts'),
        import('../missing-files.ts'),
      ])
      const { project, sourcePath, digest } = await loadProject({
        configPath: file ?? cli.globals.config ?? findConfigFolder(cli.cwd),
        cwd: cli.cwd,
      })
      const models = project.models.map((model) => ({
        name: model.name,
        missingForAutomation: missingForAutomation(model),
        warning: holdoutWarning(model),
        missingFiles: missingFiles(model, project.root),
      }))
      if (cli.json) return cli.document({ valid: true, sourcePath, digest, project, models })
      cli.line(
        `${cli.style('green', 'valid')}  ${sourcePath}  project ${project.name}, ${models.length} model${models.length === 1 ? '' : 's'}`,
      )
      for (const { name, missingForAutomation: missing, warning, missingFiles: files } of models) {
        for (const text of [warning, ...files])
          if (text !== null) cli.text(`${cli.style('yellow', `${name}:`)} ${text}`)
        if (missing.length === 0) continue
        cli.line(
          `${cli.style('yellow', `${name}:`)} without ${missing.join(', ')} its versions are released only on approval`,
        )
      }
    })
}
