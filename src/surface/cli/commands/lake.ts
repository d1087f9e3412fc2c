import type { Command } from 'commander'

import type { QueryResult, Reconciliation } from '../../api/prediction-log-schemas.ts'
import type { Cli } from '../cli.ts'
import { EXIT } from '../exit-codes.ts'
import { readInput } from '../input.ts'
import { parseInteger } from '../option-values.ts'
import { duration, number } from '../text.ts'

export function defineLake(program: Command, cli: Cli): void {
  const lake = program
    .command('lake')
    .description('the prediction log in the lake: query it, or see that nothing is missing')
    .addHelpText('after', EXAMPLES)
  lake
    .command('query <sql>')
    .description("SQL (DuckDB) over predictions and labels; read only; '@file' and '-' for stdin work")
    .option('--limit <number>', 'at most so many rows', '1000')
    .option('--csv', 'print CSV')
    .action(async (sql: string, options: { limit: string; csv?: boolean }) => {
      const limit = parseInteger('--limit', options.limit, { min: 1, max: 100_000 })
      const text = await readInput(sql)
      const { api } = await cli.connect()
      const result = await api.predictionLog.query({ sql: text, limit })
      if (cli.json) return cli.document(result)
      if (options.csv === true) showCsv(cli, result)
      else showRows(cli, result)
    })
  lake
    .command('status')
    .description('served = logged = in the lake; ends with 1 where it is not so')
    .action(async () => {
      const { api } = await cli.connect()
      const status = await api.predictionLog.status()
      if (cli.json) cli.document(status)
      else showReconciliation(cli, status)
      cli.exitCode = status.agrees ? EXIT.ok : EXIT.failed
    })
}

function showRows(cli: Cli, { columns, rows, truncated, elapsedMs, manifest }: QueryResult): void {
  const isNumber = (c: number) =>
    rows.some((row) => typeof row[c] === 'number') || /INT|DOUBLE|DECIMAL|FLOAT/.test(columns[c]!.type)
  cli.table(
    rows,
    columns.map((column, c) => ({
      title: column.name,
      value: (row: unknown[]) => cell(row[c]),
      align: isNumber(c) ? ('right' as const) : ('left' as const),
    })),
    'no rows',
    'as written',
  )
  const more = truncated ? ', there are more: raise --limit' : ''
  cli.note(cli.style('dim', `${number(rows.length)} rows in ${duration(elapsedMs)}, manifest ${manifest}${more}`))
}

const cell = (value: unknown): string =>
  value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value as string | number | boolean)

function showCsv(cli: Cli, { columns, rows, truncated }: QueryResult): void {
  const quoted = (value: unknown) =>
    /[",\r\n]/.test(cell(value)) ? `"${cell(value).replaceAll('"', '""')}"` : cell(value)
  cli.line(columns.map((c) => quoted(c.name)).join(','))
  for (const row of rows) cli.line(row.map(quoted).join(','))
  if (truncated) cli.note('there are more rows: raise --limit')
}

/** As `lake status` and `status` print it. */
export function showReconciliation(cli: Cli, r: Reconciliation): void {
  const verdict = r.agrees ? cli.style('green', 'agrees') : cli.style('red', 'does not agree')
  const lost = [
    r.sampledOut > 0 ? `${number(r.sampledOut)} sampled out` : '',
    r.dropped > 0 ? cli.style('red', `${number(r.dropped)} dropped`) : '',
  ].filter((t) => t !== '')
  cli.text(
    `log  ${verdict}: ${number(r.answered)} answered, ${number(r.logged)} logged${lost.map((t) => `, ${t}`).join('')}; ` +
      `${number(r.inLake)} in the lake, ${number(r.inSpool)} on the way (${duration(r.lagMs)}), manifest ${r.manifest}`,
  )
  cli.text(
    `labels  ${number(r.labels)} received, ${number(r.labelsMatched)} matched, ${number(r.labelsUnmatched)} without a prediction`,
  )
  if (r.why !== null) cli.text(r.why)
}

const EXAMPLES = `
Views: predictions (all models), labels, and one per model with its columns, joined with its labels.

Examples:
  millrace lake query "select version, count(*) from predictions group by version"
  millrace lake query @weekly.sql --csv > weekly.csv
  millrace lake status
`
