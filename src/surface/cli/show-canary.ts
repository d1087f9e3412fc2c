import type { CanaryLook, CanaryStep, CanaryView, Comparison } from '../api/canary-schemas.ts'
import type { Cli } from './cli.ts'
import { ago, duration, number, plainText } from './text.ts'

/**
 * As `canary` prints them.
 * @param one - it was asked for by its endpoint: JSON is the object itself
 * @param again - it is shown again and again: JSON is a line each time
 */
export function showCanaries(cli: Cli, views: CanaryView[], one: boolean, again = false): void {
  const shown = one ? views[0] : views
  if (cli.json) return again ? cli.record(shown) : cli.document(shown)
  if (views.length === 0) {
    cli.line(cli.style('dim', 'nothing is tried under live traffic now'))
    return
  }
  for (const view of views) showCanary(cli, view)
}

function showCanary(cli: Cli, view: CanaryView): void {
  const { endpoint, release, status, challenger, champion, look } = view
  cli.line(
    `${cli.style('bold', endpoint)}  ${challenger} against ${champion}  ${release} ${cli.status(status)}${view.running ? '' : reason(view.why)}`,
  )
  showSteps(cli, view)
  if (look === null) return cli.line(cli.style('dim', 'no look at it yet'))
  cli.line(`${decisions[look.decision]}: ${plainText(look.why)}`)
  showTests(cli, look)
  if (view.running && look.missing.length > 0) cli.line(`still to come: ${look.missing.map(plainText).join('; ')}`)
  const read = look.measuredAtMs === null ? 'not yet' : ago(look.measuredAtMs, Date.now())
  cli.line(
    cli.style(
      'dim',
      `looked at ${ago(look.atMs, Date.now())}, lake read ${read}, held after ${duration(view.maxTimeMs)}`,
    ),
  )
}

const decisions: Record<CanaryLook['decision'], string> = {
  wait: 'goes on',
  next: 'next step',
  promote: 'promoted',
  hold: 'held',
  rollBack: 'taken back',
}

function showSteps(cli: Cli, { steps }: CanaryView): void {
  const requests = ({ requests: n, failed }: CanaryStep['champion']) =>
    n === 0 ? '–' : `${number(n)}${failed === 0 ? '' : `, ${number(failed)} failed`}`
  cli.table(
    steps,
    [
      { title: 'step', value: (s) => (s.kind === 'shadow' ? 'shadow' : `canary ${s.step}`) },
      { title: 'share', value: (s) => `${number(s.weightPercent)}%`, align: 'right' },
      { title: 'state', value: (s) => s.state, style: (text) => cli.status(text) },
      { title: 'took', value: (s) => `${duration(s.elapsedMs)} of ${duration(s.soakMs)}`, align: 'right' },
      { title: 'challenger', value: (s) => requests(s.challenger), align: 'right' },
      { title: 'needs', value: (s) => number(s.minRequests), align: 'right' },
      { title: 'champion', value: (s) => requests(s.champion), align: 'right' },
      { title: 'why', value: (s) => s.why ?? '', mayGoUnder: true },
    ],
    'no steps',
  )
}

function showTests(cli: Cli, { tests }: CanaryLook): void {
  cli.table(
    tests,
    [
      { title: 'compared', value: (t) => t.test },
      { title: 'verdict', value: (t) => t.verdict, style: (text) => verdictStyle(cli, text) },
      { title: 'value', value: (t) => number(t.value), align: 'right' },
      { title: 'interval', value: interval, align: 'right' },
      { title: 'limit', value: (t) => number(t.limit), align: 'right' },
      { title: 'requests', value: (t) => `${number(t.challengerN)} / ${number(t.championN)}`, align: 'right' },
      { title: 'why', value: (t) => t.why, mayGoUnder: true },
    ],
    'nothing is compared',
  )
}

/** Bounds, or the e-value where the method has one. */
/** Harm that is plain soon has an e-value of twenty digits. */
const evidence = (e: number) => (e < 1e6 ? number(Number(e.toPrecision(3))) : e.toExponential(1).replace('+', ''))

function interval({ low, high, eValue, alpha }: Comparison): string {
  if (eValue !== null) return `e ${evidence(eValue)} of ${number(Math.round(1 / alpha))}`
  if (low === null && high === null) return '–'
  return `${number(low)} … ${number(high)}`
}

function verdictStyle(cli: Cli, text: string): string {
  const verdict = text.trim()
  if (verdict === 'harm') return cli.style('red', text)
  return verdict === 'fine' ? cli.style('green', text) : cli.style('dim', text)
}

const reason = (why: string | null) => (why === null ? '' : `: ${plainText(why)}`)
