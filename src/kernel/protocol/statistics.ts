/** Triton's statistics extension: counts, and times in nanoseconds. */
export interface ModelStatistics {
  name: string
  version: string
  lastInferenceMs: number
  /** Rows computed. */
  inferenceCount: number
  /** Runs of the model: less than `inferenceCount` where requests were computed together. */
  executionCount: number
  success: DurationTotal
  fail: DurationTotal
  queue: DurationTotal
  computeInput: DurationTotal
  computeInfer: DurationTotal
  computeOutput: DurationTotal
}

export interface DurationTotal {
  count: number
  ns: number
}

/** The same under the names of its JSON and of its protobuf. Whole numbers, as perf_analyzer reads them. */
export interface StatisticsBody {
  model_stats: {
    name: string
    version: string
    last_inference: number
    inference_count: number
    execution_count: number
    inference_stats: Record<
      'success' | 'fail' | 'queue' | 'compute_input' | 'compute_infer' | 'compute_output' | 'cache_hit' | 'cache_miss',
      DurationTotal
    >
    batch_stats: never[]
  }[]
}

const NEVER: DurationTotal = { count: 0, ns: 0 }

/**
 * Every field is there, with zeros where nothing happened: perf_analyzer reads them unguarded.
 * @see Triton, extension_statistics.md
 */
export function statisticsBody(statistics: readonly ModelStatistics[]): StatisticsBody {
  return { model_stats: statistics.map(modelStats) }
}

function modelStats(model: ModelStatistics): StatisticsBody['model_stats'][number] {
  return {
    name: model.name,
    version: model.version,
    last_inference: Math.trunc(model.lastInferenceMs),
    inference_count: model.inferenceCount,
    execution_count: model.executionCount,
    inference_stats: {
      success: whole(model.success),
      fail: whole(model.fail),
      queue: whole(model.queue),
      compute_input: whole(model.computeInput),
      compute_infer: whole(model.computeInfer),
      compute_output: whole(model.computeOutput),
      cache_hit: NEVER,
      cache_miss: NEVER,
    },
    batch_stats: [],
  }
}

const whole = ({ count, ns }: DurationTotal): DurationTotal => ({ count, ns: Math.round(ns) })
