import { checkLoop } from './check-loop.ts'
import { checkGateway, checkGathers, checkServing } from './check-serving.ts'
import { duplicates, finding } from './finding.ts'
import type { Finding } from './finding.ts'
import { lossesOf, metricsOf } from './metrics.ts'
import { gateDefaults, neededBy, toInputSource, writtenSteps } from './normalise.ts'
import type { WrittenModel, WrittenProject, WrittenStep } from './schema.ts'
import type { Path } from './schema-tree.ts'
import { nearest } from './suggest.ts'

/** What has to fit together: all rules that concern more than one field. */
export function checkProject(project: WrittenProject): Finding[] {
  const models = Object.entries(project.models)
  return [
    ...(models.length === 0
      ? [finding(['models'], 'is empty', `add a model: { 'my-model': { train: 'python train.py' } }.`)]
      : []),
    ...checkGateway(project.gateway),
    ...checkEndpoints(models),
    ...checkGathers(project),
    ...models.flatMap(([name, model]) => checkModel(name, model, Object.keys(project.models))),
  ]
}

/** Names that the lake uses for itself: each model is a view of its own beside these. */
const namesOfTheLake = ['predictions', 'labels']

function checkModel(name: string, model: WrittenModel, models: string[]): Finding[] {
  const at: Path = ['models', name]
  return [
    ...(namesOfTheLake.includes(name)
      ? [finding(at, `can't be called '${name}', which is a table of the lake`, 'choose another name.')]
      : []),
    ...checkColumns(at, model),
    ...checkSteps(at, model),
    ...checkVariables([...at, 'params'], 'PARAM', model.params),
    ...checkLoop(at, model, models),
    ...checkServing([...at, 'serving'], model),
    ...checkMetrics(at, model),
    ...checkComparison(at, model),
  ]
}

function checkEndpoints(models: [string, WrittenModel][]): Finding[] {
  const owners = new Map<string, string>()
  return models.flatMap(([name, model]) => {
    const endpoint = model.endpoint ?? name
    const owner = owners.get(endpoint)
    owners.set(endpoint, owner ?? name)
    if (owner === undefined) return []
    const path: Path = model.endpoint === undefined ? ['models', name] : ['models', name, 'endpoint']
    return [
      finding(
        path,
        `answers at endpoint '${endpoint}', as model '${owner}' does`,
        'give each model an endpoint of its own.',
      ),
    ]
  })
}

function checkColumns(at: Path, model: WrittenModel): Finding[] {
  const features = model.features ?? []
  const found = duplicates(features).map((i) =>
    finding([...at, 'features', i], 'is listed twice', 'remove one of them.'),
  )
  const leak = model.label === undefined ? -1 : features.indexOf(model.label)
  if (leak >= 0)
    found.push(
      finding([...at, 'features', leak], 'is the label, which a model must not be given', 'remove it from features.'),
    )
  if (model.positive !== undefined && model.task === 'regression')
    found.push(finding([...at, 'positive'], 'has no meaning for regression', `remove it, or declare task: 'binary'.`))
  return found
}

function checkSteps(at: Path, model: WrittenModel): Finding[] {
  if (model.train === undefined && model.steps === undefined)
    return [finding(at, 'has no training command', `add train: 'python train.py'.`)]
  if (model.train !== undefined && model.steps !== undefined)
    return [finding([...at, 'train'], 'is there beside steps', 'move it into steps, as the step train.')]
  const steps = writtenSteps(model)
  if (steps.length === 0) return [finding([...at, 'steps'], 'is empty', `add a step: { train: 'python train.py' }.`)]
  const pathOf = (name: string): Path => (model.steps === undefined ? [...at, 'train'] : [...at, 'steps', name])
  const names = steps.map(([name]) => name)
  const found = steps.flatMap(([name, step]) => checkStep(pathOf(name), step, names))
  const cycle = found.length > 0 ? null : findCycle(new Map(steps.map(([name, step]) => [name, neededBy(step)])))
  if (cycle !== null)
    found.push(
      finding(pathOf(cycle[0]!), `waits for itself: ${cycle.join(' needs ')}`, 'remove one of these needs or inputs.'),
    )
  return found
}

function checkStep(at: Path, step: WrittenStep, names: string[]): Finding[] {
  const unknown = (path: Path, name: string) => {
    const similar = nearest(name, names)
    return finding(
      path,
      `names the unknown step '${name}'`,
      similar === null ? `use one of ${names.join(', ')}.` : `did you mean "${similar}"?`,
    )
  }
  const needs = step.needs.flatMap((need, i) => (names.includes(need) ? [] : [unknown([...at, 'needs', i], need)]))
  const twice = duplicates(step.needs).map((i) =>
    finding([...at, 'needs', i], 'is listed twice', 'remove one of them.'),
  )
  const inputs = Object.entries(step.inputs).flatMap(([input, written]) => {
    const source = toInputSource(written)
    return source.kind === 'step' && !names.includes(source.step)
      ? [unknown([...at, 'inputs', input], source.step)]
      : []
  })
  return [...needs, ...twice, ...inputs, ...checkVariables([...at, 'inputs'], 'INPUT', step.inputs)]
}

/** The steps of a cycle, first and last the same; null when there is none. */
export function findCycle(needs: ReadonlyMap<string, readonly string[]>): string[] | null {
  const done = new Set<string>()
  const visit = (name: string, trail: string[]): string[] | null => {
    const start = trail.indexOf(name)
    if (start >= 0) return [...trail.slice(start), name]
    if (done.has(name)) return null
    for (const need of needs.get(name) ?? []) {
      const cycle = visit(need, [...trail, name])
      if (cycle !== null) return cycle
    }
    done.add(name)
    return null
  }
  for (const name of needs.keys()) {
    const cycle = visit(name, [])
    if (cycle !== null) return cycle
  }
  return null
}

/** Two names that give the same environment variable would overwrite each other unseen. */
function checkVariables(at: Path, kind: 'PARAM' | 'INPUT', named: Record<string, unknown>): Finding[] {
  const owners = new Map<string, string>()
  return Object.keys(named).flatMap((name) => {
    const variable = `MILLRACE_${kind}_${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`
    const owner = owners.get(variable)
    owners.set(variable, owner ?? name)
    return owner === undefined
      ? []
      : [finding([...at, name], `becomes ${variable}, as '${owner}' does`, 'rename one of them.')]
  })
}

function checkMetrics(at: Path, model: WrittenModel): Finding[] {
  return Object.entries(model.gate.metrics).flatMap(([metric, bound]) => {
    const path = [...at, 'gate', 'metrics', metric]
    if (bound === undefined) return []
    if (model.task !== undefined && !Object.hasOwn(metricsOf[model.task], metric))
      return [
        finding(
          path,
          `is no metric of task '${model.task}'`,
          `use one of ${Object.keys(metricsOf[model.task]).join(', ')}.`,
        ),
      ]
    return checkBound(path, metric, bound)
  })
}

function checkBound(path: Path, metric: string, bound: { min?: number; max?: number }): Finding[] {
  const { min, max } = bound
  if (min === undefined && max === undefined)
    return [finding(path, 'has neither min nor max', 'write for example { min: 0.7 }.')]
  const { lowest, highest } = { ...metricsOf.regression, ...metricsOf.binary }[metric]!
  const outside = Object.entries({ min, max }).find(
    ([, value]) => value !== undefined && (value < lowest || value > highest),
  )
  if (outside !== undefined)
    return [
      finding(
        [...path, outside[0]],
        `is out of reach: ${metric} lies ${rangeText(lowest, highest)}`,
        'write a bound within that range.',
      ),
    ]
  if (min !== undefined && max !== undefined && min > max)
    return [finding(path, `can't be kept: min ${min} is above max ${max}`, 'swap them.')]
  return []
}

function checkComparison(at: Path, model: WrittenModel): Finding[] {
  const { loss, comparison, margin } = gateDefaults(model)
  const gate = [...at, 'gate']
  if (model.task !== undefined && !lossesOf[model.task].includes(loss))
    return [
      finding([...gate, 'loss'], `does not fit task '${model.task}'`, `use ${lossesOf[model.task].join(' or ')}.`),
    ]
  if (comparison === 'nonInferiority' && margin === 0) {
    const unit =
      loss === 'squaredError' ? 'squared units of the label' : loss === 'absoluteError' ? 'units of the label' : loss
    const path = model.gate.margin === undefined ? [...gate, 'versusChampion'] : [...gate, 'margin']
    return [
      finding(
        path,
        'needs a margin above 0: how much worse a version may be',
        `add margin, in ${unit}, or use versusChampion: 'superiority'.`,
      ),
    ]
  }
  const limit = loss === 'brier' || loss === 'logLoss' ? 1 : Infinity
  if (margin >= limit)
    return [
      finding(
        [...gate, 'margin'],
        `must be below ${limit}: it is in units of ${loss}`,
        'write for example margin: 0.005.',
      ),
    ]
  return []
}

function rangeText(lowest: number, highest: number): string {
  if (highest === Infinity) return `at ${lowest} or above`
  return lowest === -Infinity ? `at ${highest} or below` : `between ${lowest} and ${highest}`
}
