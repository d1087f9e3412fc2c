import { errorAnswer, jsonAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import { constantAnswer, fallbackSignature } from './constant-answer.ts'
import { failureAnswer, noVersion, passOn } from './one-request.ts'
import type { OneRequest } from './one-request.ts'
import type { TableEndpoint } from './routing-table.ts'
import type { UpstreamAnswer } from './upstream/upstream.ts'

/** `none`: there is no fallback that could answer; nothing was counted then. */
export type FellBack = { kind: 'answered'; answer: Answer | null } | { kind: 'none'; refusal: Answer }

/** Exchanges that a version which stands in may have, however many were spent before. */
const ATTEMPTS_MIN = 2

/**
 * What answers where the endpoint is disabled, or where no live member can: marked by a header, logged and counted apart.
 * A constant is logged without a version, as it is no version's prediction.
 * @param refusal - what the client gets where the fallback can't answer either
 */
export async function fallBack(entry: TableEndpoint, request: OneRequest, refusal: Answer): Promise<FellBack> {
  const { fallback } = entry.route
  switch (fallback.kind) {
    case 'error':
      return { kind: 'none', refusal }
    case 'constant':
      return await fallBackToConstant(entry, fallback.outputs, request, refusal)
    case 'version':
      return await fallBackToVersion(entry, request, refusal)
  }
}

async function fallBackToConstant(
  entry: TableEndpoint,
  outputs: Record<string, number | string | boolean>,
  request: OneRequest,
  refusal: Answer,
): Promise<FellBack> {
  const { route } = entry
  const signature = fallbackSignature(entry)
  if (signature === null) return noFallback(refusal, 'no version says what goes in and out')
  const made = await constantAnswer(route, signature, outputs, request.call)
  if (made.kind === 'given-up') {
    const { reason } = request.call.cancellation
    const answer = failureAnswer(route, { kind: 'cancelled', reason: reason ?? 'deadline' }, request.timeoutMs)
    request.count({ ...noVersion(route), origin: 'fallback', status: answer?.status ?? null })
    return { kind: 'answered', answer }
  }
  if (made.kind === 'unfit') return noFallback(refusal, made.why)
  if (made.kind === 'malformed') {
    request.count({ ...noVersion(route), origin: 'fallback', status: 400 })
    return { kind: 'answered', answer: errorAnswer(400, made.why) }
  }
  const answered = { status: 200, headers: new Map<string, string>(), body: made.body, jsonBytes: made.jsonBytes }
  const passed = passOn(route, null, answered)
  passed.headers.push('millrace-fallback', 'constant')
  return await give(entry, request, answered, passed, '')
}

async function fallBackToVersion(entry: TableEndpoint, request: OneRequest, refusal: Answer): Promise<FellBack> {
  const { route, fallback: deployment } = entry
  if (deployment === null) return noFallback(refusal, 'its version is not deployed')
  if (request.failed.includes(deployment.deploymentId)) return noFallback(refusal, 'it is the version that failed')
  if (request.isFinal) return noFallback(refusal, 'the request may have been computed, and must not be twice')
  request.budget.beginAnew(ATTEMPTS_MIN)
  const outcome = await request.ask(route, deployment)
  const account = { ...noVersion(route), version: deployment.version, origin: 'fallback' as const }
  if (outcome.kind === 'answer') {
    const passed = passOn(route, deployment, outcome.answer)
    passed.headers.push('millrace-fallback', 'version')
    if (outcome.answer.status < 300) return await give(entry, request, outcome.answer, passed, deployment.version)
    request.count({ ...account, status: outcome.answer.status })
    return { kind: 'answered', answer: passed }
  }
  const failed = failureAnswer(route, outcome, request.timeoutMs)
  request.count({ ...account, status: failed?.status ?? null })
  const isFinal = failed === null || outcome.kind === 'cancelled'
  return { kind: 'answered', answer: isFinal ? failed : alsoSaying(refusal, 'its version failed too') }
}

async function give(
  { route }: TableEndpoint,
  request: OneRequest,
  answered: UpstreamAnswer,
  passed: Answer,
  version: string,
): Promise<FellBack> {
  const { answer } = await request.give(route, answered, passed, { version, origin: 'fallback', trial: null })
  request.count({ ...noVersion(route), version, origin: 'fallback', status: answer?.status ?? null })
  return { kind: 'answered', answer }
}

function noFallback(refusal: Answer, why: string): FellBack {
  return { kind: 'none', refusal: alsoSaying(refusal, why) }
}

/** The refusal, and why the fallback did not make it good. */
function alsoSaying({ status, headers, body }: Answer, why: string): Answer {
  const { error } = JSON.parse(body.toString()) as { error: string }
  return { status, headers, body: jsonAnswer(status, { error: `${error} The fallback can't answer: ${why}.` }).body }
}
