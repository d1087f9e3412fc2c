import { defaultMargin, lossesOf } from './metrics.ts'
import {
  toAlerts,
  toMonitors,
  toRelease,
  toRetirement,
  toServiceLevels,
  toStability,
  toTriggers,
} from './normalise-loop.ts'
import { toGateway, toGatherEndpoint, toLog, toServing } from './normalise-serving.ts'
import type {
  CommandConfig,
  DataSource,
  EnvironmentConfig,
  GateConfig,
  ModelConfig,
  PrepareConfig,
  Project,
  ServerConfig,
  StepConfig,
} from './project.ts'
import type { WrittenModel, WrittenProject, WrittenStep } from './schema.ts'

/**
 * The checked configuration in the form that every stage reads.
 * @param root - absolute folder of the configuration file
 */
export function toProject(written: WrittenProject, root: string): Project {
  return {
    name: written.name,
    root,
    snapshotIgnore: written.snapshotIgnore,
    gateway: toGateway(written.gateway),
    storage: { minFreeBytes: written.storage.minFree },
    alerts: toAlerts(written.alerts),
    models: Object.entries(written.models).map(([name, model]) => toModel(name, model)),
    endpoints: Object.entries(written.endpoints).map(([name, endpoint]) => toGatherEndpoint(name, endpoint)),
  }
}

function toModel(name: string, model: WrittenModel): ModelConfig {
  const gate = toGate(model)
  const monitors = toMonitors(model.monitors, gate.loss)
  return {
    name,
    endpoint: model.endpoint ?? name,
    importance: model.importance,
    task: model.task ?? null,
    label: model.label ?? null,
    positive: model.positive === undefined ? null : String(model.positive),
    holdout: model.holdout === undefined ? null : toSource(model.holdout),
    trainingRows: model.trainingRows === undefined ? null : toSource(model.trainingRows),
    features: model.features ?? null,
    scoreOutput: model.scoreOutput ?? null,
    triggers: toTriggers(model, monitors.monitors),
    pipeline: { steps: toSteps(model), params: model.params, seed: model.seed },
    gate,
    release: toRelease(model.release, gate),
    serving: { ...toServing(model.serving), server: toServer(name, model), prepare: toPrepare(name, model) },
    log: toLog(model.log),
    monitors,
    retirement: toRetirement(model.retirement),
    serviceLevels: toServiceLevels(model),
  }
}

/** The steps as the user named them; a lone training command is the step `train`. */
export function writtenSteps(model: WrittenModel): [string, WrittenStep][] {
  if (model.steps !== undefined) return Object.entries(model.steps)
  return model.train === undefined ? [] : [['train', model.train]]
}

/** Steps that a step waits for: those it names and those it reads from. */
export function neededBy(step: WrittenStep): string[] {
  const read = Object.values(step.inputs).flatMap((input) => {
    const source = toInputSource(input)
    return source.kind === 'step' ? [source.step] : []
  })
  return [...new Set([...step.needs, ...read])]
}

/** `steps.features/rows.parquet` is a file of another step's output; any other text is a path. */
export function toInputSource(input: string | { sql: string }): StepConfig['inputs'][number]['source'] {
  const match = typeof input === 'string' ? /^steps\.([^/]+)(?:\/(.+))?$/.exec(input) : null
  return match === null ? toSource(input) : { kind: 'step', step: match[1]!, file: match[2] ?? null }
}

/** What is compared where the user did not say. */
export function gateDefaults(model: WrittenModel): Pick<GateConfig, 'loss' | 'comparison' | 'margin'> {
  const task = model.task ?? 'binary'
  const loss = model.gate.loss ?? lossesOf[task][0]!
  const comparison = model.gate.versusChampion ?? (task === 'binary' ? 'nonInferiority' : 'superiority')
  return {
    loss,
    comparison,
    margin: model.gate.margin ?? (comparison === 'superiority' ? 0 : (defaultMargin[loss] ?? 0)),
  }
}

function toSteps(model: WrittenModel): StepConfig[] {
  return writtenSteps(model).map(([name, written]) => {
    return {
      name,
      command: written.run,
      args: written.args,
      workingDir: written.dir,
      needs: neededBy(written),
      inputs: Object.entries(written.inputs).map(([input, source]) => ({ name: input, source: toInputSource(source) })),
      environment: toEnvironment(written.environment ?? model.environment),
      env: Object.fromEntries(Object.entries(written.env).map(([key, value]) => [key, String(value)])),
      timeoutMs: written.timeout,
      retries: written.retries,
      backoffMs: written.backoff,
      logLimitBytes: written.logLimit,
    }
  })
}

function toServer(name: string, model: WrittenModel): ServerConfig | null {
  const { server } = model.serving
  return server === undefined ? null : { ...toCommand(name, model, server), isPure: server.pure }
}

function toPrepare(name: string, model: WrittenModel): PrepareConfig | null {
  const { prepare, timeout } = model.serving
  return prepare === undefined ? null : { ...toCommand(name, model, prepare), timeoutMs: prepare.timeout ?? timeout }
}

type WrittenCommand = NonNullable<WrittenModel['serving']['server'] | WrittenModel['serving']['prepare']>

/** It runs where training does, unless said otherwise. */
function toCommand(name: string, model: WrittenModel, written: WrittenCommand): CommandConfig {
  return {
    command: written.command,
    environment: toEnvironment(written.environment ?? model.environment),
    env: Object.fromEntries(Object.entries(written.env).map(([key, value]) => [key, String(value)])),
    modelName: written.model ?? name,
    readyTimeoutMs: written.readyTimeout,
  }
}

function toGate(model: WrittenModel): GateConfig {
  const bounds = Object.entries(model.gate.metrics)
  const compared = gateDefaults(model)
  return {
    thresholds: bounds.map(([metric, bound]) => ({ metric, min: bound?.min ?? null, max: bound?.max ?? null })),
    ...compared,
    alpha: model.gate.alpha,
    resamples: model.gate.resamples,
    cluster: model.gate.cluster ?? null,
    minRows: model.gate.minRows,
    minClusters: model.gate.minClusters,
    stability: toStability(model.gate.stability, compared.margin),
  }
}

function toEnvironment(written: WrittenModel['environment']): EnvironmentConfig {
  if (written === 'inherit') return { kind: 'inherit' }
  return 'python' in written ? { kind: 'python', ...written } : { kind: 'node', ...written }
}

function toSource(written: string | { sql: string }): DataSource {
  return typeof written === 'string' ? { kind: 'file', path: written } : { kind: 'sql', sql: written.sql }
}
