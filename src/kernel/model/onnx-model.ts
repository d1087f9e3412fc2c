import type * as Ort from 'onnxruntime-node'
import { messageOf } from '../errors.ts'
import { ModelNotServableError, ModelRunError } from './errors.ts'
import { readOnnxFile } from './onnx-file.ts'
import type { OnnxFacts, OnnxReading } from './onnx-file.ts'
import type { RunnableModel } from './runnable-model.ts'
import type { Datatype } from './signature.ts'
import { signatureOf, withLearnedRanks } from './signature-of.ts'
import type { Tensor, TensorData } from './tensor.ts'

export type { OnnxFacts, OnnxValue } from './onnx-file.ts'

/** An ONNX model in memory, ready to run. */
export interface OnnxModel extends RunnableModel {
  readonly facts: OnnxFacts
  /** As RunnableModel has it, blocking this thread while it computes. @throws ModelRunError */
  run(inputs: Record<string, Tensor>, outputs?: readonly string[]): Promise<Record<string, Tensor>>
}

/**
 * What the file says about itself, without a session: types, shapes, operators, metadata, weight files.
 * @throws ModelNotServableError with a code per reason
 */
export async function inspectOnnx(path: string, options: OnnxReading = {}): Promise<OnnxFacts> {
  return readOnnxFile(path, options)
}

/**
 * Loads a model with ONNX Runtime. By path, never from a buffer: external weight files resolve against the model's folder.
 * @param options.features - names of the columns of a single `[N, K]` input; null or absent: the file's own
 * @param options.threads - one is cheapest per request; two cut the latency of batches of 8–64
 * @throws ModelNotServableError if the file or the runtime says no
 */
export async function openModel(
  path: string,
  options: { features?: string[] | null; threads?: number } = {},
): Promise<OnnxModel> {
  const facts = await inspectOnnx(path)
  const declared = signatureOf(facts, options.features ?? null, path)
  const ort = await loadRuntime()
  const session = await createSession(ort, path, options.threads ?? 1)
  // Naming them keeps the runtime from converting sequences and maps, on which its Node binding fails.
  const outputNames = facts.outputs.map(({ name }) => name)
  const run: OnnxModel['run'] = async (inputs, outputs = outputNames) =>
    fromOrt(await runSession(session, toOrt(ort, inputs), outputs, path), outputs)
  const unknown = facts.outputs.flatMap(({ name, shape }) => (shape === null ? [name] : []))
  try {
    const signature = unknown.length === 0 ? declared : await withLearnedRanks(declared, unknown, run)
    return { signature, facts, run, close: () => session.release() }
  } catch (error) {
    await session.release()
    throw error
  }
}

let runtime: Promise<typeof Ort> | null = null

/** Loaded at first use: it costs 30 MB that the gateway and the CLI never need. */
function loadRuntime(): Promise<typeof Ort> {
  process.env.ORT_DISABLE_TELEMETRY = '1' // before the library is loaded: it reads this once
  runtime ??= import('onnxruntime-node').then((ort) => {
    ort.env.logLevel = 'fatal' // errors are thrown as well: a caller's bad value must not fill the log
    return ort
  })
  return runtime
}

async function createSession(ort: typeof Ort, path: string, threads: number): Promise<Ort.InferenceSession> {
  try {
    return await ort.InferenceSession.create(path, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: 'sequential',
    })
  } catch (cause) {
    throw refusal(path, messageOf(cause), cause)
  }
}

/** The runtime reports by text alone: this tells its reasons apart. */
function refusal(path: string, text: string, cause: unknown): ModelNotServableError {
  const why = reasonIn(text)
  if (
    /is not a registered function\/op|No Op registered|NOT_IMPLEMENTED|Could not find an implementation|no kernel/i.test(
      text,
    )
  ) {
    return new ModelNotServableError({
      code: 'MR_MODEL_UNSUPPORTED_OPERATOR',
      message: `ONNX Runtime has no operator that ${path} needs: ${why}`,
      fix: 'Export with standard operators in float32 and a current opset.',
      cause,
    })
  }
  if (/opset|IR version|ir_version/i.test(text)) {
    return new ModelNotServableError({
      code: 'MR_MODEL_UNSUPPORTED_OPERATOR',
      message: `${path} needs a newer ONNX Runtime than this one: ${why}`,
      fix: 'Export with a lower opset, e.g. target_opset=17.',
      cause,
    })
  }
  return new ModelNotServableError({
    code: /protobuf|parsing failed|INVALID_PROTOBUF/i.test(text) ? 'MR_MODEL_CORRUPT' : 'MR_MODEL_LOAD',
    message: `ONNX Runtime can't load ${path}: ${why}`,
    fix: /Type Error/i.test(text) ? MIXED_TYPES : 'Check the file with onnx.checker.check_model, and export it again.',
    cause,
  })
}

/** What onnx.checker does not find. */
const MIXED_TYPES =
  'Export it with numbers of one type; with skl2onnx, convert the columns of numbers to float32 before fit and to_onnx.'

/** Its text without the path (said already) and without the place in the runtime's own source. */
function reasonIn(text: string): string {
  return text
    .replace(/\s+/g, ' ')
    .replace(/^Load model from .*? failed: ?/, '')
    .replace(/\/onnxruntime_src\/\S+:\d+ .*?\) /, '')
    .slice(0, 500)
}

async function runSession(
  session: Ort.InferenceSession,
  feeds: Record<string, Ort.Tensor>,
  outputs: readonly string[],
  path: string,
): Promise<Ort.InferenceSession.OnnxValueMapType> {
  try {
    return await session.run(feeds, outputs)
  } catch (cause) {
    throw new ModelRunError(path, cause)
  }
}

const ORT_TYPES: Record<Datatype, Ort.Tensor.Type> = {
  BOOL: 'bool',
  UINT8: 'uint8',
  UINT16: 'uint16',
  UINT32: 'uint32',
  UINT64: 'uint64',
  INT8: 'int8',
  INT16: 'int16',
  INT32: 'int32',
  INT64: 'int64',
  FP16: 'float16',
  FP32: 'float32',
  FP64: 'float64',
  BYTES: 'string',
}
const DATATYPES = Object.fromEntries(Object.entries(ORT_TYPES).map(([datatype, type]) => [type, datatype])) as Record<
  string,
  Datatype
>

function toOrt(ort: typeof Ort, inputs: Record<string, Tensor>): Record<string, Ort.Tensor> {
  const feeds: Record<string, Ort.Tensor> = {}
  for (const name in inputs) feeds[name] = toOrtTensor(ort, inputs[name]!)
  return feeds
}

function toOrtTensor(ort: typeof Ort, { datatype, data, shape }: Tensor): Ort.Tensor {
  const tensor = new ort.Tensor(ORT_TYPES[datatype], data as Float32Array, shape)
  // Its constructor makes a Float16Array of half bits where Node has one, which its native part then reads as empty.
  if (datatype === 'FP16') Object.defineProperty(tensor, 'data', { value: data })
  return tensor
}

function fromOrt(values: Ort.InferenceSession.OnnxValueMapType, names: readonly string[]): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = {}
  for (const name of names) {
    const { type, data, dims } = values[name] as Ort.Tensor
    outputs[name] = {
      datatype: DATATYPES[type]!,
      shape: dims as number[],
      data: type === 'float16' ? halfBits(data as Uint16Array) : (data as TensorData),
    }
  }
  return outputs
}

/** The runtime may give a Float16Array where Node has it; ours are the bits, on every Node. */
function halfBits(data: { buffer: ArrayBufferLike; byteOffset: number; length: number }): Uint16Array {
  return data instanceof Uint16Array ? data : new Uint16Array(data.buffer, data.byteOffset, data.length)
}
