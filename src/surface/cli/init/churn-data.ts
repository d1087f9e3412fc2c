import { seededRandom } from '../../../kernel/stats/random.ts'
import type { Random } from '../../../kernel/stats/random.ts'

/**
 * The table of both templates: made-up customers and whether they left. It is drawn and not shipped, from fixed seeds,
 * so that everybody gets the same bytes. In truth the log-odds are linear but for one bend (very new customers leave
 * twice), which leaves a logistic regression something to miss.
 */
export function churnFiles(): { path: string; text: string }[] {
  return [
    { path: 'data/customers/2026-01.csv', text: toCsv(customers(700, 1)) },
    { path: 'data/customers/2026-02.csv', text: toCsv(customers(700, 2)) },
    { path: 'data/holdout.csv', text: toCsv(customers(800, 3)) },
    { path: 'later/2026-03.csv', text: toCsv(customers(700, 4)) },
  ]
}

interface Customer {
  tenure_months: number
  monthly_fee: number
  support_calls: number
  days_since_login: number
  discount: number
  plan: 'basic' | 'plus' | 'pro'
  churned: 0 | 1
}

const feeOf = { basic: 29.9, plus: 49.9, pro: 89.9 }
const pullOf = { basic: 0.4, plus: 0, pro: -0.7 }

function customers(count: number, seed: number): Customer[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, () => customer(random))
}

function customer(random: Random): Customer {
  const plan = (['basic', 'basic', 'plus', 'plus', 'pro'] as const)[random.integer(5)]!
  const discount = random.uniform() < 0.25 ? [5, 10, 20][random.integer(3)]! : 0
  const drawn = {
    tenure_months: 1 + Math.floor(60 * random.uniform() ** 1.7),
    monthly_fee: Math.round(feeOf[plan] * (1 - discount / 100) * 100) / 100,
    support_calls: Math.floor(-1.2 * Math.log(1 - random.uniform())),
    days_since_login: Math.min(60, Math.floor(-8 * Math.log(1 - random.uniform()))),
    discount,
    plan,
  }
  return { ...drawn, churned: random.uniform() < churnProbability(drawn) ? 1 : 0 }
}

function churnProbability(customer: Omit<Customer, 'churned'>): number {
  const logit =
    -2.1 -
    0.035 * customer.tenure_months +
    0.45 * customer.support_calls +
    0.07 * customer.days_since_login -
    0.03 * customer.discount +
    pullOf[customer.plan] +
    (customer.tenure_months <= 3 ? 0.6 : 0)
  return 1 / (1 + Math.exp(-logit))
}

function toCsv(rows: Customer[]): string {
  const names = Object.keys(rows[0]!)
  return [names.join(','), ...rows.map((row) => Object.values(row).join(','))].join('\n') + '\n'
}
