import { ProtocolError, unknownModel } from '../kernel/protocol/inference.ts'
import type { Signature } from '../kernel/model/signature.ts'
import { jsonAnswer } from '../serving/front/answer.ts'
import { Cancellation } from '../serving/front/cancellation.ts'
import type { DataPlane, InferAnswer, InferCall, ModelFacts } from '../serving/front/data-plane.ts'
import type { HttpRequest, Peer } from '../serving/front/http/http-front.ts'

export interface FakePlane extends DataPlane {
  /** Every inference that was asked for, in order. */
  calls: InferCall[]
  /** What the next inferences give; without one, 200 with the request's own outputs. */
  answers: (InferAnswer | null | Error)[]
}

const signature: Signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], columns: ['age', 'income'] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1], columns: null }],
}

export function factsOf(name: string, overrides: Partial<ModelFacts> = {}): ModelFacts {
  const known = { name, version: '1', versions: ['1'], platform: 'onnxruntime_onnx', signature }
  return { ...known, maxBatchRows: 64, bodyLimitBytes: 10_000, ...overrides }
}

/** A data plane without models behind it: it answers what it is told to, and remembers what it was asked. */
export function fakePlane(models: ModelFacts[] = [factsOf('m')], overrides: Partial<DataPlane> = {}): FakePlane {
  const find = (name: string, version: string | null): ModelFacts => {
    const found = models.find((model) => model.name === name)
    if (found === undefined) throw unknownModel(name)
    if (version !== null && !found.versions.includes(version)) throw unknownModel(name, version)
    return found
  }
  const plane: FakePlane = {
    calls: [],
    answers: [],
    server: { name: 'millrace', version: '1.2.3' },
    readiness: () => ({ ready: true }),
    modelNames: () => models.map(({ name }) => name),
    describe: find,
    bodyLimitBytes: (name, version) => plane.describe(name, version).bodyLimitBytes,
    modelReadiness: (name, version) => (find(name, version), { ready: true }),
    infer: (call) => {
      plane.calls.push(call)
      find(call.name, call.version)
      const answer = plane.answers.shift()
      if (answer instanceof Error) return Promise.reject(answer)
      return Promise.resolve(answer === undefined ? inferAnswerOf(call.name, [3]) : answer)
    },
    statistics: (name, version) => {
      const asked = name === null ? models : [find(name, version)]
      return asked.flatMap((model) =>
        model.versions.filter((each) => version === null || each === version).map((each) => statisticsOf(model, each)),
      )
    },
    repository: {
      index: () => models.map(({ name, version }) => ({ name, version, state: 'READY', reason: '' })),
      load: (name) => Promise.reject(new ProtocolError(400, `'${name}' is not for you to load`)),
      unload: (name) => Promise.reject(new ProtocolError(400, `'${name}' is not for you to unload`)),
    },
    ...overrides,
  }
  return plane
}

function statisticsOf({ name }: ModelFacts, version: string): ReturnType<DataPlane['statistics']>[number] {
  const none = { count: 0, ns: 0 }
  const durations = { fail: none, queue: none, computeInput: none, computeInfer: none, computeOutput: none }
  const counts = { lastInferenceMs: 1_000, inferenceCount: 2, executionCount: 1 }
  return { name, version, ...counts, success: { count: 2, ns: 500 }, ...durations }
}

/** 200 of a model with one FP32 output `y`, in JSON. */
export function inferAnswerOf(model: string, data: number[]): InferAnswer {
  const outputs = [{ name: 'y', datatype: 'FP32', shape: [data.length], data }]
  return { ...jsonAnswer(200, { model_name: model, model_version: '1', outputs }), jsonBytes: null }
}

export const LOCAL_PEER: Peer = { address: '127.0.0.1', isLocal: true, isSocket: false, commonName: null }

export function requestOf(method: string, target: string, rest: Partial<HttpRequest> = {}): HttpRequest {
  const body = rest.body ?? Buffer.alloc(0)
  return { method, target, headers: {}, peer: LOCAL_PEER, cancellation: new Cancellation(), ...rest, body }
}
