import type { Command } from 'commander'

import type { RetirementRow } from '../../api/retirement-schemas.ts'
import type { Cli } from '../cli.ts'
import { time } from '../text.ts'

interface RetirementOptions {
  explain?: boolean
  dryRun?: boolean
  deleted?: boolean
}

export function defineRetirement(program: Command, cli: Cli): void {
  program
    .command('retirement [model]')
    .description('which versions are on their way out of service, and why')
    .option('--explain', 'every version, with all that holds it')
    .option('--dry-run', 'only those that would go a step further now')
    .option('--deleted', 'also those that are deleted')
    .addHelpText('after', EXAMPLES)
    .action(async (model: string | undefined, options: RetirementOptions) => {
      const { api } = await cli.connect()
      const all = await api.retirement.list({ model, deleted: options.deleted === true })
      const rows = all.filter((row) => isShown(row, options))
      if (cli.json) return cli.document(rows)
      showRetirements(cli, rows, options.explain === true)
    })
}

function isShown(row: RetirementRow, { explain, dryRun }: RetirementOptions): boolean {
  if (dryRun === true) return row.next !== null && row.next !== 'note'
  return explain === true || row.status !== 'kept' || row.keptUntilMs !== null || row.next === 'propose'
}

export function showRetirements(cli: Cli, rows: RetirementRow[], explain: boolean): void {
  cli.table(
    rows,
    [
      { title: 'version', value: (r) => r.version },
      { title: 'state', value: (r) => r.status, style: (text) => cli.status(text) },
      { title: 'policy', value: (r) => r.policy ?? '–' },
      { title: 'since', value: (r) => (r.statusAtMs === null ? '–' : time(r.statusAtMs)) },
      { title: 'next', value: (r) => r.next ?? '–' },
      { title: 'why', value: (r) => r.outlook, mayGoUnder: true },
    ],
    'nothing is on its way out of service',
  )
  if (!explain) return
  for (const row of rows)
    for (const holder of row.heldBy) cli.line(`${cli.style('bold', row.version)} is held: ${holder}`)
}

const EXAMPLES = `
Examples:
  millrace retirement
  millrace retirement late-flight --explain
  millrace retirement late-flight --dry-run --json
`
