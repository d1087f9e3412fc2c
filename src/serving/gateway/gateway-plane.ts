import type { RoutedDeployment } from '../../kernel/contract/routing.ts'
import { ProtocolError } from '../../kernel/protocol/inference.ts'
import { errorAnswer } from '../front/answer.ts'
import type { Answer } from '../front/answer.ts'
import type {
  DataPlane,
  InferAnswer,
  InferCall,
  ModelFacts,
  ModelRepository,
  ModelStatistics,
  Readiness,
  RepositoryEntry,
  ServerFacts,
} from '../front/data-plane.ts'
import { answersOrWakes, knownModel, modelFacts, modelReadiness } from './metadata.ts'
import type { RoutingTable, TableEndpoint } from './routing-table.ts'
import type { ServedTotals } from './served-totals.ts'
import type { Tracing } from './telemetry/tracing.ts'

export interface GatewayPlaneParts {
  table: () => RoutingTable
  /** False before the first snapshot: then the gateway isn't ready. */
  hasRoutes: () => boolean
  /** Whether a deployment has a replica that may be asked now. */
  answers: (deploymentId: string) => boolean
  inference: { infer(call: InferCall): Promise<(Answer & Partial<Pick<InferAnswer, 'jsonBytes'>>) | null> }
  totals: Pick<ServedTotals, 'of'>
  server: ServerFacts
  /** Absent: traces go by as they are. */
  tracing?: Pick<Tracing, 'enter' | 'leave'>
}

/** The endpoints of the routing table as models of the protocols. Which version answers is decided behind it. */
export class GatewayPlane implements DataPlane {
  readonly #parts: GatewayPlaneParts
  readonly server: ServerFacts
  readonly repository: ModelRepository

  constructor(parts: GatewayPlaneParts) {
    this.#parts = parts
    this.server = parts.server
    this.repository = {
      index: (onlyReady) => repositoryIndex(parts, onlyReady),
      load: (model) => refuseLoading('loaded', model),
      unload: (model) => refuseLoading('unloaded', model),
    }
  }

  readiness(): Readiness {
    return this.#parts.hasRoutes() ? { ready: true } : { ready: false, why: 'The gateway has no routes yet.' }
  }

  modelNames(): string[] {
    return this.#parts.table().snapshot.endpoints.map(({ endpoint }) => endpoint)
  }

  describe(model: string, version: string | null): ModelFacts {
    return modelFacts(this.#parts.table(), model, version)
  }

  bodyLimitBytes(model: string, version: string | null): number {
    return knownModel(this.#parts.table(), model, version).entry.route.bodyLimitBytes
  }

  modelReadiness(model: string, version: string | null): Readiness {
    return modelReadiness(this.#parts.table(), model, version, this.#parts.answers)
  }

  async infer(asked: InferCall): Promise<InferAnswer | null> {
    const why = notAnObject(asked)
    if (why !== null) return { ...errorAnswer(400, why), jsonBytes: null }
    const { inference, tracing } = this.#parts
    const call = tracing?.enter(asked) ?? asked
    const answer = await inference.infer(call)
    if (answer === null) return null
    const given = isWithForm(answer) ? answer : { ...answer, jsonBytes: null }
    return tracing?.leave(call, given) ?? given
  }

  statistics(model: string | null, version: string | null): ModelStatistics[] {
    const table = this.#parts.table()
    if (model === null) {
      return table.snapshot.endpoints.flatMap(({ endpoint }) =>
        this.#statisticsOf(endpoint, knownModel(table, endpoint, null).entry, null),
      )
    }
    return this.#statisticsOf(model, knownModel(table, model, version).entry, version)
  }

  /** A gateway sees whole requests: how many rows they had, and where their time went, the model servers know. */
  #statisticsOf(name: string, entry: TableEndpoint, version: string | null): ModelStatistics[] {
    const { route } = entry
    return (version === null ? answeringVersions(entry) : [version]).map((each) => {
      const { success, fail, lastAnswerMs } = this.#parts.totals.of(route.endpoint, each)
      const none = { count: 0, ns: 0 }
      return {
        name,
        version: each,
        lastInferenceMs: lastAnswerMs,
        inferenceCount: success.count,
        executionCount: success.count,
        success,
        fail,
        queue: none,
        computeInput: none,
        computeInfer: none,
        computeOutput: none,
      }
    })
  }
}

/** Answers of the gateway's own are JSON, and don't say so. */
function isWithForm(answer: Answer & Partial<Pick<InferAnswer, 'jsonBytes'>>): answer is InferAnswer {
  return answer.jsonBytes !== undefined
}

/** A gather's requests are counted under all of its members together, and under each. */
function answeringVersions({ gather, byVersion }: TableEndpoint): string[] {
  const versions = [...byVersion.keys()]
  return gather === null ? versions : [gather.version, ...versions]
}

/** Finds what can't be a request without parsing it: the model server parses, and its 400 is passed on. */
function notAnObject({ body, jsonBytes }: InferCall): string | null {
  if (jsonBytes !== null) return null
  let start = 0
  while (start < body.length && isSpace(body[start] as number)) start += 1
  if (start === body.length) return 'The request body is empty; an inference request is a JSON object.'
  return body[start] === 0x7b ? null : 'The request body is not a JSON object.'
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

function repositoryIndex({ table, answers }: GatewayPlaneParts, onlyReady: boolean): RepositoryEntry[] {
  const entries: RepositoryEntry[] = []
  for (const route of table().snapshot.endpoints) {
    const entry = table().byName.get(route.endpoint)
    for (const [version, deployment] of entry?.byVersion ?? []) {
      const why = whyUnavailable(route.disabled, deployment, answers)
      if (why !== null && onlyReady) continue
      const state = why === null ? 'READY' : 'UNAVAILABLE'
      entries.push({ name: route.endpoint, version, state, reason: why ?? '' })
    }
  }
  return entries
}

function whyUnavailable(
  disabled: { why: string } | null,
  deployment: RoutedDeployment,
  answers: (deploymentId: string) => boolean,
): string | null {
  if (disabled !== null) return `disabled: ${disabled.why}`
  return answersOrWakes(deployment, answers) ? null : 'no replica is ready'
}

function refuseLoading(what: 'loaded' | 'unloaded', model: string): Promise<never> {
  return Promise.reject(
    new ProtocolError(
      400,
      `'${model}' can't be ${what} by a client: releases decide what this gateway serves. ` +
        `'millrace train MODEL' makes a version and releases it, 'millrace rollback' goes back to the one before, ` +
        `and 'millrace disable' takes an endpoint out of service.`,
    ),
  )
}
