import { exposition } from '../../kernel/metrics/exposition.ts'
import { counter, each, gauge, single } from '../../kernel/metrics/metric.ts'
import type { MetricFamily } from '../../kernel/metrics/metric.ts'
import { processFamilies } from '../../kernel/metrics/process-metrics.ts'
import type { DurationTotal, ModelStatistics } from '../front/data-plane.ts'
import type { ModelServer, VersionState } from './model-server.ts'
import type { ServerPlane } from './server-plane.ts'

const OF_VERSION = { labels: ['model', 'version'] } as const

/**
 * Named as Triton Inference Server names them, for which dashboards exist: therefore without `_total`, and in
 * microseconds. What Triton has not has our own names.
 * @see Triton Inference Server, user guide, "Metrics"
 */
export const serverMetrics = {
  success: counter('nv_inference_request_success', { help: 'Inference requests that were answered.', ...OF_VERSION }),
  failure: counter('nv_inference_request_failure', { help: 'Inference requests that failed.', ...OF_VERSION }),
  rows: counter('nv_inference_count', {
    help: 'Rows that were computed; those of one batch count each.',
    ...OF_VERSION,
  }),
  runs: counter('nv_inference_exec_count', { help: 'Runs of the model; a batch is one.', ...OF_VERSION }),
  duration: counter('nv_inference_request_duration_us', {
    help: 'Time that answered requests took, from their last byte to their answer, in microseconds.',
    ...OF_VERSION,
  }),
  queue: counter('nv_inference_queue_duration_us', {
    help: 'Of that, the time in the queue, in microseconds.',
    ...OF_VERSION,
  }),
  input: counter('nv_inference_compute_input_duration_us', {
    help: 'Of that, the time in which they were read, in microseconds.',
    ...OF_VERSION,
  }),
  infer: counter('nv_inference_compute_infer_duration_us', {
    help: 'Of that, the time of the run they were part of, in microseconds; each request is charged the whole run.',
    ...OF_VERSION,
  }),
  output: counter('nv_inference_compute_output_duration_us', {
    help: 'Of that, the time in which their answers were written, in microseconds.',
    ...OF_VERSION,
  }),
  pending: gauge('nv_inference_pending_request_count', { help: 'Requests that wait for a run.', ...OF_VERSION }),
  ready: gauge('millrace_model_ready', {
    help: '1 where the version answers; 0 while it is loaded or unloaded, has failed, or its process is down.',
    ...OF_VERSION,
  }),
  inFlight: gauge('millrace_server_requests_in_flight', {
    help: 'Requests that are received, computed or answered, over HTTP, frames and gRPC.',
  }),
  connections: gauge('millrace_http_connections', { help: 'Open connections over HTTP.' }),
} as const

export interface ServerSource {
  plane: ServerPlane
  models: Pick<ModelServer, 'states'>
  /** Of Millrace. */
  version: string
  underWay: () => number
  connections: () => number
}

/** Read from what the server counts anyway: it pays nothing for being watched between two scrapes. */
export function serverMetricsText(source: ServerSource): string {
  return exposition([...serverFamilies(source), ...processFamilies(source.version)])
}

export function serverFamilies({ plane, models, underWay, connections }: ServerSource): MetricFamily[] {
  const states = models.states()
  const loaded = states.flatMap((state) => (state.kind === 'ready' ? [state.loaded] : []))
  return [
    ...inferenceFamilies(plane.statistics(null, null)),
    each(
      serverMetrics.pending,
      loaded,
      ({ model, version }) => [model, version],
      ({ queued }) => queued,
    ),
    each(serverMetrics.ready, states, ({ order }) => [order.model, order.version], isAnswering),
    single(serverMetrics.inFlight, underWay()),
    single(serverMetrics.connections, connections()),
  ]
}

function inferenceFamilies(statistics: readonly ModelStatistics[]): MetricFamily[] {
  const of = (metric: Parameters<typeof each>[0], value: (one: ModelStatistics) => number): MetricFamily =>
    each(metric, statistics, ({ name, version }) => [name, version], value)
  const micros = ({ ns }: DurationTotal): number => Math.round(ns / 1_000)
  return [
    of(serverMetrics.success, ({ success }) => success.count),
    of(serverMetrics.failure, ({ fail }) => fail.count),
    of(serverMetrics.rows, ({ inferenceCount }) => inferenceCount),
    of(serverMetrics.runs, ({ executionCount }) => executionCount),
    of(serverMetrics.duration, ({ success }) => micros(success)),
    of(serverMetrics.queue, ({ queue }) => micros(queue)),
    of(serverMetrics.input, ({ computeInput }) => micros(computeInput)),
    of(serverMetrics.infer, ({ computeInfer }) => micros(computeInfer)),
    of(serverMetrics.output, ({ computeOutput }) => micros(computeOutput)),
  ]
}

function isAnswering(state: VersionState): number {
  return state.kind === 'ready' && state.loaded.downWhy === null ? 1 : 0
}
