import { expect, it } from 'vitest'
import type { Signature } from '../../../kernel/model/signature.ts'
import { deploymentOf } from '../../../testing/gateway-fakes.ts'
import { Cancellation } from '../../front/cancellation.ts'
import type { InferCall } from '../../front/data-plane.ts'
import { combineAnswers } from './combine-answers.ts'
import type { TableGather } from './gather-table.ts'
import type { Answered } from './member-outcome.ts'
import type { ModuleEnd, ModuleTask } from './module-combiner.ts'
import type { ModuleCombiners } from './module-combiners.ts'

const ROWS = 300_000
const spec = { name: 'x', datatype: 'FP32', shape: [-1], columns: null } as const
const signature: Signature = { inputs: [{ ...spec, shape: [-1] }], outputs: [{ ...spec, name: 'y', shape: [-1] }] }
const way = { kind: 'module', path: '/srv/secret/combine.ts', digest: 'sha256:0', timeoutMs: 1_000 } as const
const gather = { route: { combine: way }, signature } as unknown as TableGather
const member = {
  name: 'm@1',
  weight: 1,
  deploymentId: 'deployment-1',
  deployment: deploymentOf({ deploymentId: 'deployment-1' }),
}
const answered = { kind: 'answered', member, outputs: {} } as unknown as Answered

/** A module that ends so, and keeps what it was given. */
function moduleThat(end: ModuleEnd) {
  const tasks: Omit<ModuleTask, 'id'>[] = []
  const combine = (task: Omit<ModuleTask, 'id'>): Promise<ModuleEnd> => {
    tasks.push(task)
    return Promise.resolve(end)
  }
  return { tasks, modules: { of: () => ({ combine }) } as unknown as ModuleCombiners }
}

function callOf(rows: number): InferCall {
  const data = Array.from({ length: rows }, (_, i) => i)
  const body = Buffer.from(JSON.stringify({ id: 'r', inputs: [{ name: 'x', datatype: 'FP32', shape: [rows], data }] }))
  const facts = { name: 'e', version: null, headers: {}, jsonBytes: null, caller: 'test' }
  return { ...facts, body, cancellation: new Cancellation() }
}

it('reads a large request for a module in turns, between which others have theirs', async () => {
  const { tasks, modules } = moduleThat({ kind: 'made', outputs: { y: { datatype: 'FP32', shape: [1], data: [1] } } })
  let turns = 0
  const count = (): void => {
    turns += 1
    next = setImmediate(count)
  }
  let next = setImmediate(count)
  const made = await combineAnswers(gather, [answered], callOf(ROWS), modules)
  clearImmediate(next)
  expect(made).toMatchObject({ kind: 'made', outputs: { y: { shape: [1] } } })
  expect(turns).toBeGreaterThan(4)
  expect(tasks[0]?.request).toMatchObject({ id: 'r', inputs: { x: { shape: [ROWS] } } })
})

it('asks no module once nobody waits', async () => {
  const { tasks, modules } = moduleThat({ kind: 'made', outputs: {} })
  const call = callOf(ROWS)
  call.cancellation.cancel('client-gone')
  expect(await combineAnswers(gather, [answered], call, modules)).toMatchObject({ kind: 'failed' })
  expect(tasks).toEqual([])
})

it('says which module failed, and not where it lies', async () => {
  const why = "it can't be loaded: Cannot find module '/srv/secret/dep.ts' imported from /srv/secret/combine.ts"
  const { modules } = moduleThat({ kind: 'failed', why })
  expect(await combineAnswers(gather, [answered], callOf(1), modules)).toEqual({
    kind: 'failed',
    why: "combine.ts: it can't be loaded: Cannot find module 'dep.ts' imported from combine.ts",
  })
})
