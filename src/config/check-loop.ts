import { LATENCY_BOUNDS_MS } from '../kernel/contract/routing.ts'
import { checkTimeZone, CronError, parseCron } from '../kernel/cron.ts'
import { duplicates, finding } from './finding.ts'
import type { Finding } from './finding.ts'
import { canarySteps, toMonitors, withNames } from './normalise-loop.ts'
import type { WrittenTrigger } from './normalise-loop.ts'
import { gateDefaults } from './normalise.ts'
import type { WrittenModel } from './schema.ts'
import type { monitorNames } from './schema-loop.ts'
import type { Path } from './schema-tree.ts'
import { nearest } from './suggest.ts'

/** What has to fit together among the fields that close the loop. */
export function checkLoop(at: Path, model: WrittenModel, models: string[]): Finding[] {
  return [
    ...checkTriggers(at, model),
    ...checkCanary([...at, 'release'], model),
    ...checkShadow([...at, 'release', 'shadow'], model),
    ...checkMonitors([...at, 'monitors'], model),
    ...checkServiceLevels([...at, 'slos'], model),
    ...checkFallback([...at, 'serving', 'fallback'], model, models),
  ]
}

// Triggers

function checkTriggers(at: Path, model: WrittenModel): Finding[] {
  const list: WrittenTrigger[] = [model.on].flat()
  // A lone trigger was written without a list around it.
  const pathOf = (i: number): Path => (Array.isArray(model.on) ? [...at, 'on', i] : [...at, 'on'])
  const globs = list.map((trigger, i) => ('newData' in trigger ? trigger.newData : `\0${i}`))
  const names = withNames(list).map((trigger) => trigger.name)
  return [
    ...duplicates(globs).map((i) =>
      finding([...pathOf(i), 'newData'], 'is watched by an earlier trigger too', 'remove one of them.'),
    ),
    ...duplicates(names).map((i) =>
      finding(
        list[i]!.name === undefined ? pathOf(i) : [...pathOf(i), 'name'],
        `is called '${names[i]}', as an earlier trigger is`,
        'give each trigger a name of its own.',
      ),
    ),
    ...list.flatMap((trigger, i) => {
      if ('cron' in trigger) return checkCron(pathOf(i), trigger)
      return 'alarm' in trigger ? checkAlarm(pathOf(i), trigger, model) : []
    }),
  ]
}

function checkCron(at: Path, { cron, timeZone }: { cron: string; timeZone: string }): Finding[] {
  return [
    ...refusal([...at, 'cron'], () => void parseCron(cron)),
    ...refusal([...at, 'timeZone'], () => checkTimeZone(timeZone)),
  ]
}

function refusal(path: Path, read: () => void): Finding[] {
  try {
    read()
    return []
  } catch (error) {
    if (!(error instanceof CronError)) throw error
    return [finding(path, error.message.replace(/\.$/, ''), error.fix ?? 'write another.')]
  }
}

function checkAlarm(at: Path, { alarm }: { alarm: 'any' | string[] }, model: WrittenModel): Finding[] {
  const on = new Set<string>(toMonitors(model.monitors, gateDefaults(model).loss).monitors.map(({ name }) => name))
  if (alarm === 'any')
    return on.size > 0
      ? []
      : [finding([...at, 'alarm'], 'has no monitor to listen to: all are off', 'turn one on in monitors.')]
  return alarm.flatMap((name, i) =>
    on.has(name)
      ? []
      : [
          finding(
            [...at, 'alarm', i],
            `names the monitor '${name}', which is off`,
            `declare it in monitors, or take it from the list.`,
          ),
        ],
  )
}

// Release

function checkCanary(at: Path, model: WrittenModel): Finding[] {
  const { canary } = model.release
  const path = [...at, 'canary']
  if (canary.steps !== undefined && canary.weights !== undefined)
    return [finding([...path, 'weights'], 'is there beside steps', 'write one of the two.')]
  const steps = canarySteps(canary)
  const field = canary.steps === undefined ? 'weights' : 'steps'
  const fallen = steps.findIndex((step, i) => i > 0 && step.weightPercent <= steps[i - 1]!.weightPercent)
  if (fallen > 0) {
    const [before, weight] = [steps[fallen - 1]!.weightPercent, steps[fallen]!.weightPercent]
    return [
      finding(
        [...path, field, fallen],
        `does not grow: ${weight}% after ${before}%`,
        'write the shares of the traffic in growing order; after the last comes all of it.',
      ),
    ]
  }
  const soaks = steps.reduce((sum, step) => sum + step.soakMs, 0)
  if (soaks <= canary.maxTime) return []
  return [
    finding(
      [...path, 'maxTime'],
      `is shorter than its ${steps.length} steps last together (${hours(soaks)})`,
      'make it longer, or the soaks shorter.',
    ),
  ]
}

function checkShadow(at: Path, model: WrittenModel): Finding[] {
  const { shadow } = model.release
  return shadow.soak <= shadow.maxTime
    ? []
    : [finding([...at, 'maxTime'], `is shorter than the soak (${hours(shadow.soak)})`, 'make it longer.')]
}

const hours = (ms: number) => (ms < 3_600_000 ? `${ms / 60_000} min` : `${Number((ms / 3_600_000).toFixed(2))} h`)

// Monitors

const ofTheProfile = ['drift', 'predictionDrift', 'missing', 'unseen'] as const
const ofLabels = ['predictedActual', 'quality'] as const

function checkMonitors(at: Path, model: WrittenModel): Finding[] {
  return [
    ...checkBasis(at, model),
    ...checkTraffic(at, model.monitors.traffic),
    ...checkWorseBy(at, model),
    ...checkColumns(at, model),
  ]
}

/** What was asked for by name must be able to work; what is on by default says so itself when it can't. */
function checkBasis(at: Path, model: WrittenModel): Finding[] {
  const asked = (name: (typeof monitorNames)[number]) => (model.monitors[name] ?? false) !== false
  const withoutProfile =
    model.holdout !== undefined
      ? []
      : ofTheProfile
          .filter(asked)
          .map((name) =>
            finding(
              [...at, name],
              'has nothing to compare with: the baseline profile is made when a version is measured on the holdout',
              `add holdout: 'data/holdout.parquet', or remove it.`,
            ),
          )
  const withoutLabel =
    model.label !== undefined && model.task !== undefined
      ? []
      : ofLabels
          .filter(asked)
          .map((name) =>
            finding(
              [...at, name],
              `needs ${model.label === undefined ? 'a label' : 'a task'}`,
              model.label === undefined ? `add label: 'late'.` : `add task: 'binary'.`,
            ),
          )
  return [...withoutProfile, ...withoutLabel]
}

function checkTraffic(at: Path, traffic: WrittenModel['monitors']['traffic']): Finding[] {
  if (traffic === undefined || traffic === false) return []
  const { min, max } = traffic
  if (min === undefined && max === undefined)
    return [finding([...at, 'traffic'], 'has neither min nor max', 'write for example { min: 1000 }, per window.')]
  if (min !== undefined && max !== undefined && min > max)
    return [finding([...at, 'traffic'], `can't be kept: min ${min} is above max ${max}`, 'swap them.')]
  return []
}

function checkWorseBy(at: Path, model: WrittenModel): Finding[] {
  const { quality } = model.monitors
  const { loss } = gateDefaults(model)
  if (quality === undefined || quality === false || loss === 'logLoss' || loss === 'brier') return []
  if (quality !== true && quality.worseBy !== undefined) return []
  return [
    finding(
      [...at, 'quality'],
      `needs worseBy: how much the mean ${loss} may rise`,
      `write for example { worseBy: 5 }, in ${loss === 'squaredError' ? 'squared units' : 'units'} of the label.`,
    ),
  ]
}

/** Only where the columns are declared; else they are known once a version is there. */
function checkColumns(at: Path, model: WrittenModel): Finding[] {
  const { features } = model
  if (features === undefined) return []
  return (['drift', 'missing', 'unseen'] as const).flatMap((name) => {
    const monitor = model.monitors[name]
    const columns = typeof monitor === 'object' ? (monitor.columns ?? []) : []
    return columns.flatMap((column, i) => {
      if (features.includes(column)) return []
      const similar = nearest(column, features)
      const fix = similar === null ? `use one of ${features.join(', ')}.` : `did you mean "${similar}"?`
      return [finding([...at, name, 'columns', i], `names '${column}', which is not among the features`, fix)]
    })
  })
}

// Service levels

function checkServiceLevels(at: Path, model: WrittenModel): Finding[] {
  const { latency } = model.slos
  const within = typeof latency === 'object' ? latency.within : undefined
  const bounds: readonly number[] = LATENCY_BOUNDS_MS
  if (within === undefined || bounds.includes(within)) return []
  const near = bounds.find((bound) => bound >= within) ?? bounds.at(-1)
  return [
    finding(
      [...at, 'latency', 'within'],
      `must be one of the bounds that latencies are counted by: ${bounds.map((bound) => `${bound}ms`).join(', ')}`,
      `write for example within: '${near}ms'.`,
    ),
  ]
}

// Serving

function checkFallback(at: Path, model: WrittenModel, models: string[]): Finding[] {
  const { fallback } = model.serving
  if (fallback === 'error') return []
  if ('constant' in fallback)
    return Object.keys(fallback.constant).length > 0
      ? []
      : [finding([...at, 'constant'], 'is empty', 'name each output of the model: { constant: { probability: 0.2 } }.')]
  const match = /^([a-z][a-z0-9-]*)@([1-9]\d*)$/.exec(fallback.version)
  if (match === null)
    return [
      finding(
        [...at, 'version'],
        `must be a model and the number of a version, not '${fallback.version}'`,
        `write for example version: '${models[0]}@3'.`,
      ),
    ]
  if (models.includes(match[1]!)) return []
  const similar = nearest(match[1]!, models)
  return [
    finding(
      [...at, 'version'],
      `names the unknown model '${match[1]}'`,
      similar === null ? `use one of ${models.join(', ')}.` : `did you mean '${similar}@${match[2]}'?`,
    ),
  ]
}
