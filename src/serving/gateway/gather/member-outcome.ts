import type { Tensor } from '../../../kernel/model/tensor.ts'
import { parseAnswerTensors } from '../../../kernel/protocol/inference.ts'
import { messageOf } from '../../../kernel/errors.ts'
import { errorTextOf } from '../../front/error-text.ts'
import type { ForwardOutcome } from '../forward.ts'
import type { UpstreamAnswer } from '../upstream/upstream.ts'
import type { TableMember } from './gather-table.ts'

/** How the part of one member in a request ended. */
export type MemberOutcome = Answered | Absent | { kind: 'released'; member: TableMember; latencyMs: number }

export interface Answered {
  kind: 'answered'
  member: TableMember
  answer: UpstreamAnswer
  /** The request's, echoed. */
  id: string | null
  outputs: Record<string, Tensor>
  latencyMs: number
}

export interface Absent {
  kind: 'absent'
  member: TableMember
  /** After `late-flight@3: ` */
  why: string
  /** What it has to answer for. */
  status: number
  /** An error that it answered with. */
  answer: UpstreamAnswer | null
  latencyMs: number
}

/** `released`: nobody waited for it any more, which is no word about it. */
export function memberOutcome(
  member: TableMember,
  outcome: ForwardOutcome,
  latencyMs: number,
  deadlineMs: number,
): MemberOutcome {
  const absent = (status: number, why: string, answer: UpstreamAnswer | null = null): Absent => ({
    kind: 'absent',
    member,
    why,
    status,
    answer,
    latencyMs,
  })
  switch (outcome.kind) {
    case 'answer':
      return outcome.answer.status < 300
        ? answered(member, outcome.answer, latencyMs, absent)
        : refused(outcome.answer, absent)
    case 'unavailable':
      return absent(503, outcome.why)
    case 'died':
      return absent(502, outcome.why)
    case 'cancelled':
      if (outcome.reason === 'deadline') return absent(504, `no answer within ${deadlineMs} ms`)
      return { kind: 'released', member, latencyMs }
  }
}

type SayAbsent = (status: number, why: string, answer?: UpstreamAnswer | null) => Absent

function answered(
  member: TableMember,
  answer: UpstreamAnswer,
  latencyMs: number,
  absent: SayAbsent,
): Answered | Absent {
  try {
    const { id, outputs } = parseAnswerTensors(answer.body, { jsonBytes: answer.jsonBytes })
    return { kind: 'answered', member, answer, id, outputs, latencyMs }
  } catch (error) {
    return absent(502, `its answer can't be read: ${messageOf(error)}`)
  }
}

const ERROR_LETTERS_MAX = 300

function refused(answer: UpstreamAnswer, absent: SayAbsent): Absent {
  return absent(answer.status, `it answered ${answer.status}: ${errorTextOf(answer, ERROR_LETTERS_MAX)}`, answer)
}
