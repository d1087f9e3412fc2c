import { Cancellation } from '../serving/front/cancellation.ts'
import { DeploymentPools } from '../serving/gateway/deployment-pools.ts'
import { Gathers } from '../serving/gateway/gather/gathers.ts'
import { ModuleCombiners } from '../serving/gateway/gather/module-combiners.ts'
import { Inference } from '../serving/gateway/inference.ts'
import type { InferCall } from '../serving/front/data-plane.ts'
import { mirrorLimits, Mirrors } from '../serving/gateway/mirrors.ts'
import type { MirrorLimits } from '../serving/gateway/mirrors.ts'
import { PredictionKeeper } from '../serving/gateway/prediction-keeper.ts'
import { poolLimits } from '../serving/gateway/replica-pool.ts'
import { buildTable } from '../serving/gateway/routing-table.ts'
import { Traffic } from '../serving/gateway/traffic.ts'
import type { Answer } from '../serving/front/answer.ts'
import type { PredictionRecord } from '../kernel/contract/prediction.ts'
import type { EndpointRoute, TrafficReport } from '../kernel/contract/routing.ts'
import type { Signature } from '../kernel/model/signature.ts'
import { fakeClock } from './fake-clock.ts'
import { fakeLog, fakeReplicas, inferBody, snapshotOf } from './gateway-fakes.ts'

/** Inference over fakes: replicas that follow a script, a log in memory, draws as they are pushed (then 0). */
export function inferenceLab(endpoints: EndpointRoute[], limits: Partial<MirrorLimits> = {}) {
  const replicas = fakeReplicas()
  const log = fakeLog()
  const traffic = new Traffic()
  const clock = fakeClock()
  const draws: number[] = []
  const pools = new DeploymentPools(replicas.open, poolLimits, () => undefined)
  let table = buildTable(snapshotOf(1, endpoints))
  pools.apply(table.deployments)
  const random = (): number => draws.shift() ?? 0
  const tell = (): void => undefined
  const keeper = new PredictionKeeper({ log, clock, random, tell })
  const mirrorParts = { pools, keeper, traffic, clock, random, tell }
  const mirrors = new Mirrors({ ...mirrorParts, limits: { ...mirrorLimits, ...limits } })
  const modules = new ModuleCombiners(tell)
  const declare = (model: string, version: string, signature: Signature): void =>
    void log.append({ kind: 'schema', model, version, signature }, 'relaxed')
  const gatherParts = { pools, keeper, mirrors, traffic, clock, modules, declare, tell }
  const gathers = new Gathers({ ...gatherParts, table: () => table })
  const inference = new Inference({ table: () => table, pools, keeper, mirrors, gathers, traffic, clock, random })
  return {
    replicas,
    log,
    traffic,
    clock,
    draws,
    pools,
    mirrors,
    modules,
    infer: (overrides: Partial<InferCall> = {}): Promise<Answer | null> =>
      inference.infer({
        name: 'late-flights',
        version: null,
        headers: { 'content-type': 'application/json', cookie: 'secret' },
        body: inferBody,
        jsonBytes: null,
        caller: 'anonymous',
        cancellation: new Cancellation(),
        ...overrides,
      }),
    /** New routes under whatever is under way. */
    route: (...next: EndpointRoute[]): void => {
      table = buildTable(snapshotOf(2, next))
      pools.apply(table.deployments)
    },
    predictions: (): PredictionRecord[] =>
      log.records.flatMap(({ record }) => (record.kind === 'prediction' ? [record] : [])),
    /** Rows of the next report. */
    rows: (): TrafficReport[] => {
      const { seq, traffic: rows } = traffic.batch()
      traffic.acknowledge(seq)
      return rows
    },
  }
}

export function header(answer: Answer | null, name: string): string | undefined {
  const at = answer?.headers.indexOf(name) ?? -1
  return at < 0 ? undefined : answer?.headers[at + 1]
}

export function textOf(answer: Answer | null): string {
  return answer?.body.toString() ?? ''
}
