import { faultInAnswer, isLargeJson, nameAnswer, owedAnswer } from '../../../kernel/protocol/inference.ts'
import { atOnce } from '../../../kernel/protocol/steps.ts'
import type { Steps } from '../../../kernel/protocol/steps.ts'
import { errorAnswer } from '../../front/answer.ts'
import { processTurns } from '../../front/in-turns.ts'
import { UpstreamError } from '../errors.ts'
import type { AnswerAs, UpstreamAnswer, UpstreamRequest } from './upstream.ts'

/**
 * What a server of someone else's answered, as clients may have it: a 200 under the names that they know, or, where it is
 * not what it owes, a 502 that says why. That is an answer like any 5xx: it counts as a failure of the replica and of the
 * version, and is not asked for again elsewhere, as the same code would give the same.
 * @param isWanted - false: nobody waits for it any more
 * @throws UpstreamError `garbled` where a 200 is no JSON object, and for what is neither a 200 nor an error; `aborted`
 */
export async function foreignAnswer(
  answer: UpstreamAnswer,
  request: UpstreamRequest,
  answerAs: AnswerAs,
  isWanted: () => boolean,
): Promise<UpstreamAnswer> {
  const { status, body, jsonBytes } = answer
  if (status >= 400) return answer
  if (status !== 200)
    throw new UpstreamError('garbled', `The server answered ${status}, which says nothing of a prediction.`)
  const steps = judged(answer, request, answerAs)
  if (!isLargeJson(body, jsonBytes) && !isLargeJson(request.body, request.jsonBytes)) return atOnce(steps)
  const given = await processTurns.run(steps, isWanted)
  if (given === null) throw new UpstreamError('aborted', 'The answer was given up before it was read.')
  return given
}

function* judged(answer: UpstreamAnswer, request: UpstreamRequest, answerAs: AnswerAs): Steps<UpstreamAnswer> {
  const { status, body, jsonBytes } = answer
  const { model, version, signature } = answerAs
  const json = yield* nameAnswer(jsonBytes === null ? body : body.subarray(0, jsonBytes), model, version)
  if (json === null) throw new UpstreamError('garbled', 'The server answered 200 with what is no JSON object.')
  const why = yield* faultInAnswer(answer, signature, yield* owedAnswer(request, signature))
  if (why !== null) return refusal(`The server of model '${model}' version '${version}' answered wrongly: ${why}.`)
  if (jsonBytes === null) return { ...answer, body: json }
  const headers = new Map(answer.headers).set('inference-header-content-length', String(json.length))
  return { status, headers, body: Buffer.concat([json, body.subarray(jsonBytes)]), jsonBytes: json.length }
}

function refusal(why: string): UpstreamAnswer {
  const { status, body } = errorAnswer(502, why)
  return { status, headers: new Map([['content-type', 'application/json']]), body, jsonBytes: null }
}
