import { Worker } from 'node:worker_threads'
import { messageOf } from '../../kernel/errors.ts'
import { ModelNotServableError } from '../../kernel/model/errors.ts'
import { openModel } from '../../kernel/model/onnx-model.ts'
import type { OnnxModel } from '../../kernel/model/onnx-model.ts'
import type { FromChild, ToChild } from './run-messages.ts'

/**
 * The process of one heavy model: loads it and runs it as it is told. It lives no longer than the server that started
 * it: the channel ends with that, and while a run blocks this thread, another one looks for the parent.
 */
export function serveRuns(): void {
  endWithParent()
  let model: OnnxModel | null = null
  const answer = async (message: ToChild): Promise<FromChild> => {
    if (message.kind === 'run') return run(model, message)
    model = await openModel(message.path, { features: message.features })
    return { kind: 'opened', signature: model.signature, facts: model.facts }
  }
  process.on('message', (message: ToChild) => {
    answer(message).then(
      (said) => send(said),
      (error: unknown) => send(refusal(message, error)),
    )
  })
}

async function run(model: OnnxModel | null, message: ToChild & { kind: 'run' }): Promise<FromChild> {
  if (model === null) throw new Error('no model was opened')
  return { kind: 'ran', outputs: await model.run(message.inputs, message.outputs ?? undefined) }
}

function refusal(message: ToChild, error: unknown): FromChild {
  if (message.kind === 'run') {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
    return { kind: 'failed', message: messageOf(cause) }
  }
  if (error instanceof ModelNotServableError)
    return { kind: 'refused', code: error.code, message: error.message, fix: error.fix ?? '' }
  return { kind: 'refused', code: '', message: messageOf(error), fix: '' }
}

function send(message: FromChild): void {
  process.send?.(message, undefined, undefined, (error) => {
    if (error !== null) process.exit(1) // nobody is left to work for
  })
}

const LOOK_MS = 250

/** A process whose parent died gets another one. */
const WATCH = `
const parent = process.ppid
setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL') }, ${LOOK_MS})
`

function endWithParent(): void {
  process.on('disconnect', () => process.exit(0))
  // Signals to the group (Ctrl-C) are the server's to handle: it ends its children after its last answer.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
  new Worker(WATCH, { eval: true }).unref()
}
