import { defaultQuality } from './metrics.ts'
import type {
  AlarmTrigger,
  AlertsConfig,
  FallbackConfig,
  GateConfig,
  MonitorConfig,
  MonitorKind,
  MonitorsConfig,
  ReleaseConfig,
  RetirementConfig,
  ServiceLevelConfig,
  ServiceLevelName,
  TriggerConfig,
} from './project.ts'
import type { WrittenModel, WrittenProject } from './schema.ts'
import { monitorNames } from './schema-loop.ts'
import { defaultLevel, serviceLevelDefaults } from './service-level-defaults.ts'

/** What closes the loop, in the form that every stage reads. */

const DAY_MS = 86_400_000

/** The declared ones, and one for the monitors that retrain and that no declared alarm listens to. */
export function toTriggers(model: WrittenModel, monitors: MonitorConfig[]): TriggerConfig[] {
  const declared = withNames([model.on].flat())
  const alarms = declared.filter((trigger) => trigger.kind === 'alarm')
  const unheard = monitors
    .filter(({ name, response }) => response === 'retrain' && !alarms.some((alarm) => listensTo(alarm, name)))
    .map((monitor) => monitor.name)
  if (unheard.length === 0) return declared
  const name = freeName(declared, alarms.length + 1)
  return [...declared, { kind: 'alarm', name, monitors: unheard, coolDownMs: DAY_MS, perDay: 1 }]
}

const listensTo = (alarm: AlarmTrigger, monitor: string) =>
  alarm.monitors.length === 0 || alarm.monitors.includes(monitor)

function freeName(taken: TriggerConfig[], from: number): string {
  const name = `alarm-${from}`
  return taken.some((trigger) => trigger.name === name) ? freeName(taken, from + 1) : name
}

export type WrittenTrigger = Exclude<WrittenModel['on'], unknown[]>

/** Each with the user's name, else its kind and its place among those of its kind. */
export function withNames(written: WrittenTrigger[]): TriggerConfig[] {
  const count = { newData: 0, cron: 0, alarm: 0 }
  return written.map((trigger) => {
    const kind = 'newData' in trigger ? 'newData' : 'cron' in trigger ? 'cron' : 'alarm'
    count[kind] += 1
    return toTrigger(trigger, trigger.name ?? `${kind}-${count[kind]}`)
  })
}

function toTrigger(written: WrittenTrigger, name: string): TriggerConfig {
  if ('newData' in written)
    return { kind: 'newData', name, path: written.newData, settleMs: written.settle, minFiles: written.atLeast }
  if ('cron' in written) {
    const { cron, timeZone, catchUp, overlap } = written
    return { kind: 'cron', name, cron, timeZone, catchUp, overlap }
  }
  const monitors = written.alarm === 'any' ? [] : [...new Set(written.alarm)]
  return { kind: 'alarm', name, monitors, coolDownMs: written.coolDown, perDay: written.perDay }
}

export function toRelease(written: WrittenModel['release'], gate: GateConfig): ReleaseConfig {
  const { rows, tolerance, timeout } = written.preflight
  const { canary, shadow } = written
  return {
    when:
      typeof written.when === 'string'
        ? { kind: written.when }
        : { kind: 'staleAfter', ageMs: written.when.staleAfter },
    strategy: written.strategy,
    canary: {
      steps: canarySteps(canary),
      minRequests: canary.minRequests,
      minLabels: canary.minLabels,
      maxTimeMs: canary.maxTime,
      alpha: canary.alpha,
      margins: { ...canary.margins, loss: canary.margins.loss ?? lossMargin(gate) },
    },
    shadow: {
      sharePercent: shadow.share,
      soakMs: shadow.soak,
      minRequests: shadow.minRequests,
      minLabels: shadow.minLabels,
      maxTimeMs: shadow.maxTime,
    },
    preflight: { goldenRows: rows, tolerance, timeoutMs: timeout },
  }
}

const DEFAULT_WEIGHTS = [10, 50]

/** The steps as they will be taken, whichever way they were written. */
export function canarySteps(written: WrittenModel['release']['canary']): { weightPercent: number; soakMs: number }[] {
  const steps = written.steps ?? (written.weights ?? DEFAULT_WEIGHTS).map((weight) => ({ weight, soak: undefined }))
  return steps.map(({ weight, soak }) => ({ weightPercent: weight, soakMs: soak ?? written.soak }))
}

/** The margin of a superiority gate is how much better a version must be, so that it gives no room to be worse. */
function lossMargin(gate: GateConfig): number {
  return gate.comparison === 'nonInferiority' ? gate.margin : 0
}

/** A spread of four margins between versions of one trainer: then the comparison of two of them is a lottery. */
export function toStability(written: WrittenModel['gate']['stability'], margin: number): GateConfig['stability'] {
  const usual = margin > 0 ? 4 * margin : null
  const maxSpread = written.maxSpread === false ? null : (written.maxSpread ?? usual)
  return { versions: written.versions, maxSpread }
}

export function toMonitors(written: WrittenModel['monitors'], loss: GateConfig['loss']): MonitorsConfig {
  return {
    windowMs: written.window,
    labelDelayMs: written.labelDelay,
    monitors: monitorNames.flatMap((name) => toMonitor(name, written, loss) ?? []),
  }
}

/** null: it is off. */
function toMonitor(
  name: MonitorKind,
  written: WrittenModel['monitors'],
  loss: GateConfig['loss'],
): MonitorConfig | null {
  const given = written[name] ?? (name === 'traffic' || name === 'silence' || name === 'modelAge' ? false : true)
  if (given === false) return null
  const said: Said = given === true ? {} : given
  const limit = limitOf(name, said, loss)
  // The usual rise of the loss is known for probabilities only: a number's loss has the unit of the label.
  if (name === 'quality' && limit === null) return null
  const windows = name === 'silence' || name === 'modelAge' ? 1 : 2
  return {
    name,
    limit,
    min: said.min ?? null,
    max: said.max ?? null,
    minRows: said.minRows ?? 200,
    alpha: said.alpha ?? 0.001,
    columns: said.columns ?? [],
    severity: said.severity ?? 'warning',
    response: said.then ?? 'tell',
    raiseAfter: said.raiseAfter ?? windows,
    clearAfter: said.clearAfter ?? windows,
    runbook: said.runbook ?? null,
  }
}

/** Every field that some monitor has. */
interface Said {
  psi?: number
  moreBy?: number
  share?: number
  ratio?: number
  worseBy?: number | undefined
  after?: number
  min?: number | undefined
  max?: number | undefined
  minRows?: number
  alpha?: number
  columns?: string[] | undefined
  severity?: MonitorConfig['severity']
  then?: MonitorConfig['response']
  raiseAfter?: number
  clearAfter?: number
  runbook?: string | undefined
}

function limitOf(name: MonitorKind, said: Said, loss: GateConfig['loss']): number | null {
  switch (name) {
    case 'drift':
    case 'predictionDrift':
      return said.psi ?? 0.25
    case 'missing':
      return said.moreBy ?? 0.05
    case 'unseen':
      return said.share ?? 0.05
    case 'predictedActual':
      return said.ratio ?? 1.25
    case 'quality':
      return said.worseBy ?? defaultQuality[loss] ?? null
    case 'traffic':
      return null
    case 'silence':
    case 'modelAge':
      return said.after!
  }
}

export function toRetirement(written: WrittenModel['retirement']): RetirementConfig {
  const { outdated } = written
  return {
    keepLast: written.keepLast,
    maxAgeMs: written.maxAge === false ? null : written.maxAge,
    idleMs: written.idle === false ? null : written.idle,
    superseded: written.superseded,
    deleteAfterMs: written.deleteAfter,
    pinMs: written.pin,
    outdated:
      outdated === false ? null : { windowMs: outdated.window, minRows: outdated.minRows, margin: outdated.margin },
  }
}

const DEFAULT_WINDOW_MS = 30 * DAY_MS

/**
 * Every level, unless it was turned off. Lead time is measured only where releases happen by themselves, as otherwise it
 * would measure a person.
 */
export function toServiceLevels(model: WrittenModel): ServiceLevelConfig[] {
  const names = Object.keys(serviceLevelDefaults) as ServiceLevelName[]
  return names.flatMap((name): ServiceLevelConfig[] => {
    const given = model.slos[name]
    if (given === false || (given === undefined && name === 'leadTime' && model.release.when === 'manual')) return []
    const usual = { ...defaultLevel(name, model.importance), windowMs: DEFAULT_WINDOW_MS }
    if (given === undefined) return [usual]
    if (typeof given === 'number') return [{ ...usual, objective: given }]
    return [
      {
        name,
        objective: given.objective ?? usual.objective,
        thresholdMs: ('within' in given ? given.within : undefined) ?? usual.thresholdMs,
        windowMs: given.window,
        effect: given.then ?? usual.effect,
      },
    ]
  })
}

export function toFallback(written: WrittenModel['serving']['fallback']): FallbackConfig {
  if (written === 'error') return { kind: 'error' }
  return 'constant' in written
    ? { kind: 'constant', outputs: written.constant }
    : { kind: 'version', version: written.version }
}

export function toAlerts(written: WrittenProject['alerts']): AlertsConfig {
  const webhooks = written.webhook === undefined ? [] : [written.webhook].flat()
  return {
    webhooks: webhooks.map((webhook) =>
      typeof webhook === 'string'
        ? { url: webhook, minSeverity: 'warning', timeoutMs: 5_000 }
        : { url: webhook.url, minSeverity: webhook.minSeverity, timeoutMs: webhook.timeout },
    ),
  }
}
