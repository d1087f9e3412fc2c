import { FED_HEADER, isFedOther, splitFed } from '../../kernel/contract/fed.ts'
import type { PredictionRecord } from '../../kernel/contract/prediction.ts'
import type { RoutedDeployment } from '../../kernel/contract/routing.ts'
import type { ForwardOutcome } from './forward.ts'
import type { UpstreamAnswer } from './upstream/upstream.ts'

/** Takes apart what a model server answered and what it fed the model, where that is not the request. */
export function withFed({ signature }: RoutedDeployment, outcome: ForwardOutcome): ForwardOutcome {
  if (!isFedOther(signature) || outcome.kind !== 'answer') return outcome
  const header = outcome.answer.headers.get(FED_HEADER)
  const split = header === undefined ? null : splitFed(outcome.answer.body, header)
  if (split === null) return outcome
  return { kind: 'answer', answer: { ...outcome.answer, body: split.answer, fed: split.fed } }
}

/** For the log; nothing where the model was fed the request as it is. */
export function fedOf({ fed }: Pick<UpstreamAnswer, 'fed'>): Pick<PredictionRecord, 'fed' | 'fedJsonBytes'> {
  return fed === undefined ? NOTHING : { fed: fed.body, fedJsonBytes: fed.jsonBytes }
}

const NOTHING = Object.freeze({})
