import { messageOf } from '../../../kernel/errors.ts'
import type { Tensor } from '../../../kernel/model/tensor.ts'
import { ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { EncodedBody } from '../../../kernel/protocol/inference.ts'
import { retryAnswer } from '../../front/answer.ts'
import type { Answer } from '../../front/answer.ts'
import { headerText, passOn } from '../one-request.ts'
import { accountName } from '../routing-table.ts'
import type { TableEndpoint } from '../routing-table.ts'
import type { UpstreamAnswer } from '../upstream/upstream.ts'
import { neededAnswers } from './asking.ts'
import type { Asking } from './asking.ts'
import { eventOf } from './event-stream.ts'
import { encodeGathered } from './gather-body.ts'
import type { GatheredHead } from './gather-body.ts'
import type { MemberOutcome } from './member-outcome.ts'

/* What clients get of a gather, in words and bytes. */

const OCTETS = 'application/octet-stream'

export type Whole =
  | { kind: 'whole'; answer: UpstreamAnswer; passed: Answer; absent: string[] }
  | { kind: 'failed'; why: string }

/** The combined answer as a v2 server would have given it, in the form in which the members answered. */
export function wholeAnswer(
  { route }: TableEndpoint,
  asking: Asking,
  outputs: Readonly<Record<string, Tensor>>,
  mayBeBinary: boolean,
): Whole {
  const { gather, answered } = asking
  const absent = absentOf(asking)
  const binary = mayBeBinary && answered.some(({ answer }) => answer.jsonBytes !== null)
  const head: GatheredHead = {
    modelName: route.endpoint,
    modelVersion: gather.version,
    id: answered[0]?.id ?? null,
    absent,
    binary,
  }
  let encoded: EncodedBody
  try {
    encoded = encodeGathered(head, outputs)
  } catch (error) {
    if (error instanceof ProtocolError) return { kind: 'failed', why: error.message }
    throw error
  }
  const headers = new Map([['content-type', encoded.jsonBytes === null ? 'application/json' : OCTETS]])
  if (encoded.jsonBytes !== null) headers.set('inference-header-content-length', String(encoded.jsonBytes))
  const answer: UpstreamAnswer = { status: 200, headers, ...encoded }
  const passed = passOn(route, null, answer)
  passed.headers.push('millrace-model-version', headerText(gather.version))
  if (absent.length > 0) passed.headers.push('millrace-absent', absent.map((name) => headerText(name)).join(', '))
  return { kind: 'whole', answer, passed, absent }
}

/** Too few have answered. Where all that spoke say that the request is at fault, that is what the client must hear. */
export function refusedBy({ route }: TableEndpoint, asking: Asking): Answer {
  const { gather, answered, outcomes } = asking
  const refusals = outcomes.flatMap((outcome) => (outcome.kind === 'absent' ? [outcome] : []))
  const fault = refusals.find(({ status }) => status >= 400 && status < 500)
  if (answered.length === 0 && fault !== undefined && fault.answer !== null) return passOn(route, null, fault.answer)
  const needed = neededAnswers(gather)
  const asked = gather.route.members.length
  const count = `${answered.length} of ${asked} members answered, ${needed} ${needed === 1 ? 'is' : 'are'} needed`
  const reasons = [...gather.outside, ...refusals.map(({ member, why }) => ({ name: member.name, why }))]
  const said = reasons.map(({ name, why }) => `${name}: ${why}`).join('; ')
  return retryAnswer(`Endpoint '${route.endpoint}' can't answer: ${count}.${said === '' ? '' : ` ${said}.`}`)
}

/** By name, in the members' order: those that did not answer, and those that could not be asked. */
function absentOf({ gather, outcomes }: Asking): string[] {
  const late = outcomes.flatMap((outcome) => (outcome.kind === 'absent' ? [outcome.member.name] : []))
  return [...late, ...gather.outside.map(({ name }) => name)]
}

export function memberEvent({ route }: TableEndpoint, outcome: MemberOutcome): Buffer {
  const member = outcome.member.name
  if (outcome.kind === 'released') return eventOf('absent', JSON.stringify({ member, error: 'not waited for' }))
  if (outcome.kind === 'absent') return eventOf('absent', JSON.stringify({ member, error: outcome.why }))
  const { model: modelName, version: modelVersion } = accountName(route, outcome.member.deployment)
  const head: GatheredHead = { modelName, modelVersion, id: outcome.id, absent: [], binary: false }
  try {
    const answer = encodeGathered(head, outcome.outputs).body.toString('utf8')
    return eventOf('member', `{"member":${JSON.stringify(member)},"answer":${answer}}`)
  } catch (error) {
    return eventOf('absent', JSON.stringify({ member, error: messageOf(error) }))
  }
}
