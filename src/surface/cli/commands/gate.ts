import type { Command } from 'commander'

import type { Cli } from '../cli.ts'
import { EXIT, type ExitCode } from '../exit-codes.ts'

export function defineGate(program: Command, cli: Cli): void {
  const gate = program.command('gate').description('the verdict on a version')
  gate
    .command('show <ref>')
    .description('every check with its figures and its reason')
    .addHelpText('after', EXAMPLES)
    .action(async (ref: string) => {
      const { api } = await cli.connect()
      const verdict = await api.gates.get({ ref })
      if (cli.json) cli.document(verdict)
      else (await import('../show-gate.ts')).showGate(cli, verdict)
      cli.exitCode = exitOf(verdict.approval?.decision ?? verdict.verdict)
    })
}

function exitOf(decision: string | null): ExitCode {
  if (decision === 'passed' || decision === 'approved') return EXIT.ok
  return decision === 'inconclusive' || decision === null ? EXIT.needsPerson : EXIT.failed
}

const EXAMPLES = `
Ends with 0 if it passed or was approved, 1 if it failed or was rejected, 8 while it waits for a person or a verdict.

Examples:
  millrace gate show late-flight@7
  millrace gate show late-flight@7 --json
`
