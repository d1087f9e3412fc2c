import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { parentPort, workerData } from 'node:worker_threads'
import { messageOf } from '../../../kernel/errors.ts'
import type { ModuleReply, ModuleTask } from './module-combiner.ts'

/** What a user's module exports by default. */
type Combine = (answers: ModuleTask['answers'], request: ModuleTask['request']) => unknown

/**
 * The inside of the thread that runs a user's combining module: loads the file if it is the one that was applied, then
 * answers one task after the other. It never ends by itself: whoever started it ends it.
 */
export async function serveModule(): Promise<void> {
  const port = parentPort!
  const { path, digest } = workerData as { path: string; digest: string }
  const say = (reply: ModuleReply): void => port.postMessage(reply)
  let combine: Combine
  try {
    combine = await load(path, digest)
  } catch (error) {
    return say({ kind: 'unloadable', why: messageOf(error) })
  }
  port.on('message', (task: ModuleTask) => {
    void answer(combine, task)
      .then(say)
      .catch((error: unknown) =>
        say({ kind: 'threw', id: task.id, why: `what it returned can't be sent: ${messageOf(error)}` }),
      )
  })
  say({ kind: 'ready' })
}

async function load(path: string, digest: string): Promise<Combine> {
  const found = `sha256:${createHash('sha256').update(readFileSync(path)).digest('hex')}`
  if (found !== digest) throw new Error(`${path} is ${found}, and ${digest} was applied`)
  const module = (await import(pathToFileURL(path).href)) as { default?: unknown }
  if (typeof module.default !== 'function')
    throw new Error(`${path} has no default export that is a function (answers, request)`)
  return module.default as Combine
}

async function answer(combine: Combine, { id, answers, request }: ModuleTask): Promise<ModuleReply> {
  try {
    const made = (await combine(answers, request)) as { outputs?: unknown } | null | undefined
    const outputs = plain(made?.outputs)
    refuseTooMuch(outputs)
    return { kind: 'made', id, outputs }
  } catch (error) {
    return { kind: 'threw', id, why: messageOf(error) }
  }
}

/** Tensors' values as plain lists: typed arrays would become objects on their way. */
function plain(value: unknown): unknown {
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return isData(value) ? value : null
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>)
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]))
}

/** Of all outputs together. What is read, logged and sent of it takes the gateway's own time. */
const VALUES_MAX = 10_000_000
const LETTERS_MAX = 16_000_000

/** Here, where it costs nobody else anything. */
function refuseTooMuch(outputs: unknown): void {
  if (typeof outputs !== 'object' || outputs === null) return
  let [values, letters] = [0, 0]
  for (const output of Object.values(outputs)) {
    const data = (output as { data?: unknown } | null)?.data
    if (!Array.isArray(data)) continue
    values += data.length
    for (const value of data) if (typeof value === 'string') letters += value.length
  }
  if (values > VALUES_MAX) throw new Error(`its outputs have ${values} values, more than ${VALUES_MAX}`)
  if (letters > LETTERS_MAX) throw new Error(`its outputs have ${letters} letters, more than ${LETTERS_MAX}`)
}

const isData = (value: unknown): boolean => typeof value !== 'function' && typeof value !== 'symbol'
