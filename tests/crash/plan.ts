import type { Random } from '../../src/kernel/stats/random.ts'
import type { VictimKind } from './victims.ts'

/** What happens in one round; what comes when is the seed's choice. */
export type Round =
  | { kind: 'kill'; victims: VictimKind[]; afterMs: number }
  /** `millrace down` and `up` again while work is under way. */
  | { kind: 'restart'; afterMs: number }

const AFTER_MS_MAX = 1_200

/** One deck of twenty rounds has each kind of victim in it, so that the short form leaves none out. */
type Card = VictimKind | 'several' | 'restart'

const DECK: Card[] = [
  ...repeat<Card>('control plane', 4),
  ...repeat<Card>('gateway', 3),
  ...repeat<Card>('model server', 3),
  ...repeat<Card>('supervisor', 2),
  ...repeat<Card>('step', 2),
  'evaluate job',
  'ingest job',
  ...repeat<Card>('several', 3),
  'restart',
]

/** Those that can be killed in the same moment. Jobs and steps would have to be waited for. */
const TOGETHER: VictimKind[] = ['supervisor', 'control plane', 'gateway', 'model server']

export function planRounds(count: number, random: Random): Round[] {
  const rounds: Round[] = []
  while (rounds.length < count) rounds.push(...shuffled(DECK, random).map((card) => roundOf(card, random)))
  return rounds.slice(0, count)
}

function roundOf(card: Card, random: Random): Round {
  const afterMs = random.integer(AFTER_MS_MAX)
  if (card === 'restart') return { kind: 'restart', afterMs }
  if (card !== 'several') return { kind: 'kill', victims: [card], afterMs }
  const size = 2 + random.integer(TOGETHER.length - 1)
  return { kind: 'kill', victims: shuffled(TOGETHER, random).slice(0, size), afterMs }
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], random: Random): T[] {
  const result = [...items]
  for (let i = result.length - 1; i > 0; i--) {
    const j = random.integer(i + 1)
    ;[result[i], result[j]] = [result[j]!, result[i]!]
  }
  return result
}

function repeat<T>(item: T, times: number): T[] {
  return Array.from({ length: times }, () => item)
}
