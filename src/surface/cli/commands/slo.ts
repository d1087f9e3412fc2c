import type { Command } from 'commander'

import type { BudgetView } from '../../api/service-level-schemas.ts'
import type { Cli } from '../cli.ts'
import { duration, number, plainText } from '../text.ts'

export function defineSlo(program: Command, cli: Cli): void {
  program
    .command('slo [model]')
    .description(
      'service levels: objective, events, what is left of each error budget, how fast it burns, what it does',
    )
    .addHelpText('after', EXAMPLES)
    .action(async (model: string | undefined) => {
      const { api } = await cli.connect()
      const budgets = await api.serviceLevels.budgets({ model })
      if (cli.json) return cli.document(budgets)
      showBudgets(cli, budgets)
    })
}

function showBudgets(cli: Cli, budgets: BudgetView[]): void {
  cli.table(
    budgets,
    [
      { title: 'model', value: (b) => b.model, group: true },
      { title: 'level', value: (b) => b.level },
      { title: 'objective', value: objective },
      { title: 'window', value: (b) => duration(b.windowMs), align: 'right', spare: true },
      { title: 'good', value: (b) => number(b.good), align: 'right' },
      { title: 'bad', value: (b) => number(b.bad), align: 'right' },
      { title: 'left', value: (b) => (b.left === null ? '–' : share(b.left)), align: 'right' },
      { title: 'burn rates', value: burnRates, spare: true },
      { title: 'state', value: (b) => b.state, style: (text) => cli.status(text) },
      { title: 'then', value: (b) => b.effect },
    ],
    'no service levels are declared',
  )
  for (const budget of budgets.filter((b) => b.state === 'burning' || b.state === 'spent')) showTrouble(cli, budget)
}

function showTrouble(cli: Cli, { model, level, state, why, freeze, restores, alert }: BudgetView): void {
  cli.line(`\n${cli.style('bold', `${model} ${level}`)}  ${cli.status(state)}${alert === null ? '' : `  ${alert}`}`)
  cli.text(plainText(why))
  if (freeze !== null) cli.text(`automatic release is frozen by ${freeze}; 'millrace unfreeze ${model}' ends that too`)
  if (restores !== null) cli.line(`back with ${restores}`)
}

const share = (of: number) => `${number(Number((of * 100).toFixed(of > 0.99 && of < 1 ? 3 : 1)))}%`

const objective = ({ objective: of, thresholdMs }: BudgetView) =>
  `${share(of)}${thresholdMs === null ? '' : ` within ${duration(thresholdMs)}`}`

/** Over the long window of each pair; the limits are 14.4, 6 and 1. */
const burnRates = ({ burns }: BudgetView) => burns.map((burn) => number(Number(burn.longRate.toFixed(1)))).join(' / ')

/** One line for `status`; null where there is nothing to count. */
export function budgetLine(cli: Cli, budgets: BudgetView[]): string | null {
  if (budgets.length === 0) return null
  const inState = (state: BudgetView['state']) => budgets.filter((b) => b.state === state)
  const named = (list: BudgetView[]) =>
    list.map((b) => `${b.model} ${b.level}${b.freeze === null ? '' : ' (releases frozen)'}`).join(', ')
  const [spent, burning] = [inState('spent'), inState('burning')]
  const unmeasured = inState('unmeasured').length
  const parts = [
    `${inState('kept').length} of ${budgets.length} budgets kept${unmeasured === 0 ? '' : `, ${unmeasured} not measured yet`}`,
  ]
  if (burning.length > 0) parts.push(`${cli.status('burning')}: ${named(burning)}`)
  if (spent.length > 0) parts.push(`${cli.status('spent')}: ${named(spent)}`)
  if (spent.length + burning.length > 0) parts.push(cli.style('cyan', 'millrace slo'))
  return parts.join('; ')
}

const EXAMPLES = `
'then' is what happens when the budget is spent. Burn rates are how many times as fast as the budget allows it was used
over the last 1 h / 6 h / 3 days of a window of 30 days; an alert opens at 14.4, 6 and 1 when a shorter window agrees.

Examples:
  millrace slo
  millrace slo late-flight
  millrace slo --json
`
