import type { GateView } from '../api/gate-schemas.ts'
import type { Cli } from './cli.ts'
import { inOrder } from './metric-order.ts'
import { figures, number, plainText, time } from './text.ts'

const INDENT = ' '.repeat(16)

/** A verdict with its checks, as `train` and `gate show` print it. */
export function showGate(cli: Cli, gate: GateView): void {
  cli.text(`${cli.style('bold', gate.version)}  ${cli.status(gate.verdict ?? 'undecided')}  ${plainText(gate.why)}`)
  const against = gate.champion === null ? '' : `, against ${gate.champion}`
  const rows = gate.rows === null ? '' : ` on ${number(gate.rows)} rows`
  if (Object.keys(gate.metrics).length > 0) cli.text(`measured${rows}${against}: ${figures(inOrder(gate.metrics))}`)
  if (gate.championMetrics !== null) cli.text(`${gate.champion}: ${figures(inOrder(gate.championMetrics))}`)
  for (const { verdict, name, why, figures: its } of gate.checks) {
    cli.text(`  ${cli.status(verdict.padEnd(12))}  ${plainText(name)}: ${plainText(why)}`, INDENT.length)
    // Those of the check 'metrics' are what was measured.
    const numbers = name === 'metrics' ? '' : figures(its)
    if (numbers !== '') cli.text(`${INDENT}${cli.style('dim', numbers)}`, INDENT.length)
  }
  const { approval } = gate
  if (approval !== null)
    cli.text(`${cli.status(approval.decision)} by ${approval.by} at ${time(approval.atMs)}: ${plainText(approval.why)}`)
}
