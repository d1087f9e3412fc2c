import type { Command } from 'commander'

import type { ArtifactsView, RetirementRow } from '../../api/retirement-schemas.ts'
import type { Cli } from '../cli.ts'
import { bytes, duration, number, time } from '../text.ts'

interface RetirementOptions {
  explain?: boolean
  dryRun?: boolean
  deleted?: boolean
  files?: boolean
}

export function defineRetirement(program: Command, cli: Cli): void {
  program
    .command('retirement [model]')
    .description('which versions are on their way out of service, and why')
    .option('--explain', 'every version, with all that holds it')
    .option('--dry-run', 'only those that would go a step further now')
    .option('--deleted', 'also those that are deleted')
    .option('--files', 'what the kept files of all models are for, and what is removed as nothing is made of it')
    .addHelpText('after', EXAMPLES)
    .action(async (model: string | undefined, options: RetirementOptions) => {
      const { api } = await cli.connect()
      if (options.files === true) {
        const files = await api.retirement.files()
        return cli.json ? cli.document(files) : showFiles(cli, files)
      }
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

function showFiles(cli: Cli, { kept, unused, largest, removed, lastPassAgoMs, refused }: ArtifactsView): void {
  cli.table(
    kept,
    [
      { title: 'use', value: (r) => r.use },
      { title: 'files', value: (r) => number(r.files), align: 'right' },
      { title: 'size', value: (r) => bytes(r.sizeBytes), align: 'right' },
    ],
    'no files are kept',
  )
  cli.line('')
  cli.line(`unused   ${amount(unused)}`)
  for (const { digest, sizeBytes, removableInMs } of largest.slice(0, SHOWN_MAX))
    cli.line(`         ${digest.slice(0, 19)}… ${bytes(sizeBytes)}, ${whenRemoved(removableInMs)}`)
  if (largest.length > SHOWN_MAX) cli.line(`         … and more: --json names the largest ${largest.length}`)
  const last = lastPassAgoMs === null ? 'no pass has ended yet' : `the last pass ended ${duration(lastPassAgoMs)} ago`
  cli.line(`removed  ${amount(removed)} since the control plane was started; ${last}`)
  if (refused !== null) cli.line(`${cli.style('bold', 'nothing is removed')}: ${refused}`)
}

const SHOWN_MAX = 10
const amount = ({ files, sizeBytes }: { files: number; sizeBytes: number }) =>
  `${number(files)} file${files === 1 ? '' : 's'}, ${bytes(sizeBytes)}`
const whenRemoved = (inMs: number) =>
  inMs === 0 ? 'removed by the next passes' : `removed in ${duration(inMs)} at the soonest`

const EXAMPLES = `
Examples:
  millrace retirement
  millrace retirement late-flight --explain
  millrace retirement late-flight --dry-run --json
  millrace retirement --files
`
