import { messageOf } from '../errors.ts'
import type { Signature } from '../model/signature.ts'
import type { Tensor } from '../model/tensor.ts'
import { encodeInferRequest, parseAnswerTensors } from '../protocol/inference.ts'
import { PrepareAnswerError } from './errors.ts'
import { fedTensors } from './prepare-fit.ts'
import type { V2Answer } from './v2-client.ts'

/**
 * How a preparing step is asked, whoever asks: an evaluation and a replica send the same bytes for the same rows, and read
 * the answer by the same rules. It gets the inputs and nothing else of a request, as an evaluation has nothing else.
 */
export function prepareBody(inputs: Readonly<Record<string, Tensor>>): Buffer {
  for (const name in inputs) refuseUnsendable(name, inputs[name]!)
  return Buffer.from(encodeInferRequest({ inputs }))
}

/** @throws PrepareAnswerError naming the row */
function refuseUnsendable(name: string, { datatype, data, shape }: Tensor): void {
  if (datatype !== 'FP32' && datatype !== 'FP64') return
  const at = (data as Float64Array).findIndex((value) => !Number.isFinite(value))
  if (at < 0) return
  const rows = shape[0] ?? 1
  const row = Math.floor(at / (data.length / rows))
  throw new PrepareAnswerError(
    `input '${name}' is ${data[at]} in row ${row} of ${rows}, and JSON has no word for it`,
    false,
  )
}

/** What became of one request. */
export type PrepareVerdict =
  | { kind: 'fed'; fed: Record<string, Tensor> }
  /** It finds fault with the values. */
  | { kind: 'refused'; status: 400 | 413; why: string }
  /** It can't answer now, and another one may. */
  | { kind: 'busy'; why: string }
  | { kind: 'failed'; error: PrepareAnswerError }

/**
 * Pure.
 * @param model - what is to be fed
 * @param rows - those that were asked for
 */
export function verdictOf(answer: V2Answer, model: Signature, rows: number): PrepareVerdict {
  const { status } = answer
  if (status === 200) return readFed(answer, model, rows)
  const why = saidIn(answer.body)
  if (status === 429 || status === 503) return { kind: 'busy', why: `it answered with ${status}: ${why}` }
  if (status >= 400 && status < 500) return { kind: 'refused', status: status === 413 ? 413 : 400, why }
  return { kind: 'failed', error: new PrepareAnswerError(`it answered with ${status}: ${why}`, false) }
}

function readFed({ body, jsonBytes }: V2Answer, model: Signature, rows: number): PrepareVerdict {
  try {
    return { kind: 'fed', fed: fedTensors(parseAnswerTensors(body, { jsonBytes }).outputs, model, rows) }
  } catch (error) {
    if (error instanceof PrepareAnswerError) return { kind: 'failed', error }
    return { kind: 'failed', error: new PrepareAnswerError(messageOf(error), true, error) }
  }
}

const SAID_MAX = 500

/** The protocol's `error`, or what a framework for web services says instead. */
function saidIn(body: Buffer): string {
  const text = body.toString('utf8', 0, 16_384)
  const json = jsonOrNull(text) as { error?: unknown; detail?: unknown } | null
  const said = [json?.error, json?.detail].find((value): value is string => typeof value === 'string' && value !== '')
  const plain = (said ?? text).trim()
  if (plain === '') return 'it gave no reason'
  return plain.length <= SAID_MAX ? plain : `${plain.slice(0, SAID_MAX)}…`
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null // then the text itself is what it says
  }
}
