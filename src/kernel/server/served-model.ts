import { messageOf } from '../errors.ts'
import type { RunnableModel } from '../model/runnable-model.ts'
import type { Datatype, Signature } from '../model/signature.ts'
import { signatureOf } from '../model/signature-of.ts'
import { allocate, FLOAT32_LIMIT, INTEGER_BOUNDS, MAX_RANK } from '../model/tensor.ts'
import type { Tensor } from '../model/tensor.ts'
import { encodeInferRequest, isDatatype, parseInferResponse, type AnsweredTensor } from '../protocol/inference.ts'
import { ServerAnswerError, ServerMetadataError, type ServerRole } from './errors.ts'
import type { ServerPlan } from './server-plan.ts'
import { startServer } from './server-process.ts'
import { v2Client, type V2Client } from './v2-client.ts'

/** Of one run; a chunk of rows may well take long where nobody waits for it. */
const RUN_TIMEOUT_MS = 300_000
const METADATA_TIMEOUT_MS = 10_000
const STOP_GRACE_MS = 5_000

/**
 * Starts a server in isolation (no client knows its port) and stands for the model that it serves: for evaluating it
 * row by row as what will answer in production.
 * @param features - names of the columns of a single `[N, K]` input
 * @throws ServerStartError, ServerMetadataError
 */
export async function openServedModel(plan: ServerPlan, features: string[] | null): Promise<RunnableModel> {
  const server = await startServer(plan)
  const client = v2Client(server.httpPort)
  const close = async () => {
    client.close()
    await server.stop(STOP_GRACE_MS)
  }
  try {
    await server.ready()
    const signature = await servedSignature(client, plan.modelName, features)
    return { signature, run: (inputs, outputs) => run(client, plan.modelName, inputs, outputs), close }
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * What a server says that its model takes and gives.
 * @throws ServerMetadataError
 */
export async function servedSignature(
  client: V2Client,
  model: string,
  features: string[] | null,
  role: ServerRole = 'server',
): Promise<Signature> {
  const { status, body } = await client.get(`/v2/models/${encodeURIComponent(model)}`, METADATA_TIMEOUT_MS)
  if (status !== 200) throw new ServerMetadataError(model, `it is answered with ${status}: ${shown(body)}`, role)
  return signatureFromMetadata(parsed(body, model, role), model, features, role)
}

/** Pure. @throws ServerMetadataError */
export function signatureFromMetadata(
  json: unknown,
  model: string,
  features: string[] | null,
  role: ServerRole = 'server',
): Signature {
  const { inputs, outputs } = (json ?? {}) as { inputs?: unknown; outputs?: unknown }
  const refuse = (why: string) => new ServerMetadataError(model, why, role)
  const facts = { inputs: specs(inputs, 'inputs', refuse), outputs: specs(outputs, 'outputs', refuse) }
  return signatureOf({ ...facts, metadata: {} }, features, `model '${model}'`)
}

function specs(
  list: unknown,
  what: string,
  refuse: (why: string) => Error,
): { name: string; datatype: Datatype; shape: number[] }[] {
  if (!Array.isArray(list) || list.length === 0) throw refuse(`it names no ${what}`)
  return list.map((entry: unknown) => {
    const { name, datatype, shape } = (entry ?? {}) as { name?: unknown; datatype?: unknown; shape?: unknown }
    if (typeof name !== 'string' || name === '' || name === '__proto__') throw refuse(`one of its ${what} has no name`)
    if (!isDatatype(datatype)) throw refuse(`the datatype of '${name}' is ${JSON.stringify(datatype)}`)
    const isShape = Array.isArray(shape) && shape.length <= MAX_RANK && shape.every(isAxis)
    if (!isShape) throw refuse(`the shape of '${name}' is ${JSON.stringify(shape)}`)
    return { name, datatype, shape: shape as number[] }
  })
}

const isAxis = (size: unknown): boolean => Number.isSafeInteger(size) && (size as number) >= -1

function parsed(body: Buffer, model: string, role: ServerRole): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new ServerMetadataError(model, `it is no JSON (${messageOf(error)})`, role)
  }
}

async function run(
  client: V2Client,
  model: string,
  inputs: Record<string, Tensor>,
  outputs?: readonly string[],
): Promise<Record<string, Tensor>> {
  refuseUnsendable(inputs, model)
  const request = encodeInferRequest({ inputs, ...(outputs === undefined ? {} : { outputs: [...outputs] }) })
  const { status, body } = await answerOf(client, model, Buffer.from(request))
  if (status !== 200) throw new ServerAnswerError(model, `it answers with ${status}: ${shown(body)}`)
  try {
    const answered = parseInferResponse(body).outputs
    return Object.fromEntries(Object.entries(answered).map(([name, tensor]) => [name, toTensor(tensor, name)]))
  } catch (error) {
    throw new ServerAnswerError(model, messageOf(error), error)
  }
}

async function answerOf(client: V2Client, model: string, body: Buffer) {
  try {
    return await client.post(`/v2/models/${encodeURIComponent(model)}/infer`, body, null, RUN_TIMEOUT_MS)
  } catch (error) {
    throw new ServerAnswerError(model, messageOf(error), error)
  }
}

/** JSON has no NaN, and no client of the gateway could send it as JSON either. */
function refuseUnsendable(inputs: Record<string, Tensor>, model: string): void {
  for (const [name, { datatype, data, shape }] of Object.entries(inputs)) {
    if (datatype === 'FP16') throw new ServerAnswerError(model, `input '${name}' is FP16, which JSON can't carry`)
    if (datatype !== 'FP32' && datatype !== 'FP64') continue
    const at = (data as Float64Array).findIndex((value) => !Number.isFinite(value))
    if (at < 0) continue
    const row = Math.floor(at / (data.length / shape[0]!))
    throw new ServerAnswerError(
      model,
      `input '${name}' is ${data[at]} in row ${row} of ${shape[0]}, which JSON can't carry: fill missing values in the holdout`,
    )
  }
}

/** Values as a typed array; null stands for NaN. @throws TypeError where a value is not of the type, or beyond it */
export function toTensor({ datatype, shape, data }: AnsweredTensor, name: string): Tensor {
  if (!isDatatype(datatype)) throw new TypeError(`output '${name}' has the datatype ${JSON.stringify(datatype)}`)
  const values = allocate(datatype, data.length) as { [index: number]: unknown }
  const convert = converterOf(datatype)
  data.forEach((value, i) => {
    const converted = convert(value)
    if (converted === undefined) throw new TypeError(`output '${name}' holds ${text(value)}, which is not ${datatype}`)
    values[i] = converted
  })
  return { datatype, shape, data: values as unknown as Tensor['data'] }
}

type Answered = AnsweredTensor['data'][number]

const text = (value: Answered): string => (typeof value === 'bigint' ? String(value) : JSON.stringify(value))

function converterOf(datatype: Datatype): (value: Answered) => unknown {
  switch (datatype) {
    case 'BYTES':
      return (value) => (typeof value === 'string' ? value : undefined)
    case 'BOOL':
      return (value) => (typeof value === 'boolean' ? Number(value) : value === 0 || value === 1 ? value : undefined)
    case 'INT64':
    case 'UINT64':
      return (value) => inRange(datatype, Number.isInteger(value) ? BigInt(value as number) : value)
    case 'FP32':
    case 'FP64':
      return (value) => toFloat(value, datatype === 'FP32' ? FLOAT32_LIMIT : Infinity)
    case 'FP16':
      return () => undefined // JSON can't carry it
    case 'INT8':
    case 'INT16':
    case 'INT32':
    case 'UINT8':
    case 'UINT16':
    case 'UINT32':
      return (value) => (Number.isInteger(value) ? inRange(datatype, value) : undefined)
  }
}

/** undefined where it is no integer, or one that a typed array would wrap. */
function inRange(datatype: Datatype, value: Answered): Answered | undefined {
  const [min, max] = INTEGER_BOUNDS[datatype]!
  const isWhole = typeof value === 'bigint' || typeof value === 'number'
  return isWhole && value >= min && value <= max ? value : undefined
}

/** undefined where it is no number, or would become an infinite one. */
function toFloat(value: Answered, limit: number): number | undefined {
  if (value === null) return NaN
  const number = typeof value === 'bigint' ? Number(value) : value
  return typeof number === 'number' && Math.abs(number) < limit ? number : undefined
}

const shown = (body: Buffer) => body.toString('utf8').slice(0, 300)
