import { basename } from 'node:path'
import type { Tensor } from '../../../kernel/model/tensor.ts'
import { messageOf } from '../../../kernel/errors.ts'
import { parseInferRequest, ProtocolError } from '../../../kernel/protocol/inference.ts'
import type { InferCall } from '../../front/data-plane.ts'
import { withoutFolders } from '../../front/error-text.ts'
import { readInTurns } from '../read-request.ts'
import { combine } from './combine.ts'
import type { MemberAnswer } from './combine.ts'
import type { TableGather } from './gather-table.ts'
import type { Answered } from './member-outcome.ts'
import type { ModuleTask } from './module-combiner.ts'
import type { ModuleCombiners } from './module-combiners.ts'
import { moduleOutputs } from './module-outputs.ts'

export type Made = { kind: 'made'; outputs: Readonly<Record<string, Tensor>> } | { kind: 'failed'; why: string }

/** One answer of several, by the gather's own way or by a user's module. Never rejects for what is theirs. */
export async function combineAnswers(
  { route, signature }: TableGather,
  answered: readonly Answered[],
  call: InferCall,
  modules: ModuleCombiners,
): Promise<Made> {
  const answers = answered.map(({ member, outputs }): MemberAnswer => ({
    name: member.name,
    weight: member.weight,
    outputs,
  }))
  const { combine: way } = route
  if (way.kind !== 'module') {
    const combined = combine(way.kind, answers)
    if (combined.kind === 'combined') return { kind: 'made', outputs: combined.outputs }
    return { kind: 'failed', why: combined.misfits.map(({ member, why }) => `${member}: ${why}`).join('; ') }
  }
  let request: ModuleTask['request']
  try {
    const read = await readInTurns(call, signature)
    if (read === null) return { kind: 'failed', why: 'nobody waits for it any more' }
    const { id, parameters, inputs } = parseInferRequest(read.body, signature, read.form)
    request = { id, parameters, inputs }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    return { kind: 'failed', why: `the request could not be read for ${basename(way.path)}: ${messageOf(error)}` }
  }
  const end = await modules.of(way).combine({ answers, request }, call.cancellation)
  if (end.kind === 'failed') return { kind: 'failed', why: `${basename(way.path)}: ${withoutFolders(end.why)}` }
  const outputs = moduleOutputs(end.outputs)
  if (typeof outputs === 'string') return { kind: 'failed', why: `${basename(way.path)}: ${outputs}` }
  return { kind: 'made', outputs }
}
