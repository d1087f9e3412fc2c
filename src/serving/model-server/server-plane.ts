import { systemClock } from '../../kernel/clock.ts'
import type { Clock } from '../../kernel/clock.ts'
import { callerSignature } from '../../kernel/model/signature.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'
import type {
  DataPlane,
  InferAnswer,
  InferCall,
  ModelFacts,
  ModelRepository,
  ModelStatistics,
  Readiness,
  ServerFacts,
} from '../front/data-plane.ts'
import type { LoadedModel } from './loaded-model.ts'
import type { ModelServer } from './model-server.ts'
import { OneInference } from './one-inference.ts'
import { fixedRepository } from './repository.ts'

/** Of one request, unpacked, unless its front says less. */
export const BODY_LIMIT_BYTES = 64 * 1024 * 1024

export interface ServerPlaneOptions {
  models: ModelServer
  server: ServerFacts
  /** Who may load and unload; absent: nobody, as what a replica serves is decided by the control plane. */
  repository?: ModelRepository
  /** Whether a server with nothing loaded is ready: one whose models are loaded by its clients. */
  emptyIsReady?: boolean
  bodyLimitBytes?: number
  clock?: Clock
}

/**
 * The model server as every front sees it:
 *
 *   body ─▶ parse ─▶ queue ─▶ run, with whoever else is there ─▶ encode ─▶ body
 */
export class ServerPlane implements DataPlane {
  readonly server: ServerFacts
  readonly repository: ModelRepository
  readonly #models: ModelServer
  readonly #clock: Clock
  readonly #bodyLimitBytes: number
  readonly #emptyIsReady: boolean
  #draining = false

  constructor(options: ServerPlaneOptions) {
    this.server = options.server
    this.#models = options.models
    this.repository = options.repository ?? fixedRepository(options.models)
    this.#emptyIsReady = options.emptyIsReady ?? false
    this.#bodyLimitBytes = options.bodyLimitBytes ?? BODY_LIMIT_BYTES
    this.#clock = options.clock ?? systemClock
  }

  get isDraining(): boolean {
    return this.#draining
  }

  /** Not ready from now on, so that nobody new is sent here; whoever comes all the same is served. */
  startDraining(): void {
    this.#draining = true
  }

  readiness(): Readiness {
    if (this.#draining) return { ready: false, why: 'Not ready: draining' }
    if (this.#emptyIsReady && this.#models.states().length === 0) return READY
    const why = this.#models.notReadyWhy
    return why === null ? READY : { ready: false, why: `Not ready: ${why}` }
  }

  modelNames(): string[] {
    return this.#models.names().toSorted()
  }

  describe(model: string, version: string | null): ModelFacts {
    const loaded = this.#models.find(model, version)
    return {
      name: model,
      version: loaded.version,
      versions: this.#models.versionsOf(model),
      platform: 'onnxruntime_onnx',
      signature: callerSignature(loaded.signature),
      maxBatchRows: loaded.maxBatchRows,
      bodyLimitBytes: this.#bodyLimitBytes,
    }
  }

  bodyLimitBytes(model: string, version: string | null): number {
    this.#models.find(model, version) // 404, 503
    return this.#bodyLimitBytes
  }

  modelReadiness(model: string, version: string | null): Readiness {
    if (this.#draining) return { ready: false, why: `Model '${model}' is not ready: draining` }
    const why = whyNotReady(() => this.#models.find(model, version))
    return why === null ? READY : { ready: false, why }
  }

  infer(call: InferCall): Promise<InferAnswer | null> {
    return new Promise((resolve, reject) => {
      const loaded = this.#models.find(call.name, call.version)
      new OneInference(loaded, call, this.#clock, resolve, reject).begin()
    })
  }

  statistics(model: string | null, version: string | null): ModelStatistics[] {
    if (model !== null) this.#models.find(model, version) // 404, 503
    const toEpochMs = this.#clock.epochMs() - this.#clock.monotonicMs()
    return this.#models.states().flatMap((state) => {
      const { model: name, version: number } = state.order
      const isMeant = (model === null || model === name) && (version === null || version === number)
      return isMeant && state.kind === 'ready' ? [state.loaded.totals.statistics(name, number, toEpochMs)] : []
    })
  }
}

const READY: Readiness = { ready: true }

/** @throws ProtocolError 404 */
function whyNotReady(find: () => LoadedModel): string | null {
  try {
    const { model, downWhy } = find()
    return downWhy === null ? null : `Model '${model}' is not ready: its process is down: ${downWhy}`
  } catch (error) {
    if (error instanceof ProtocolError && error.status === 503) return error.message
    throw error
  }
}
