import { duplicates, finding } from './finding.ts'
import type { Finding } from './finding.ts'
import { toKey } from './normalise-serving.ts'
import type { WrittenEndpoint, WrittenModel, WrittenProject } from './schema.ts'
import type { Path } from './schema-tree.ts'
import { nearest } from './suggest.ts'

/** What has to fit together among the fields of serving: the gateway, replicas, routes, gathers. */

export function checkGateway(gateway: WrittenProject['gateway']): Finding[] {
  const { port, grpcPort } = gateway
  if (grpcPort === false || grpcPort === 0 || grpcPort !== port) return []
  return [
    finding(['gateway', 'grpcPort'], `is ${port}, as the port for HTTP is`, `write for example grpcPort: ${port + 1}.`),
  ]
}

export function checkServing(at: Path, { serving }: WrittenModel): Finding[] {
  return [
    ...checkReplicas(at, serving),
    ...checkIsolate([...at, 'isolate'], serving),
    ...checkRules(at, serving),
    ...checkLimits([...at, 'limits'], serving.limits),
    ...checkEnrich([...at, 'enrich'], serving),
    ...checkPrepare([...at, 'prepare'], serving),
  ]
}

function checkReplicas(at: Path, { replicas, timeout }: WrittenModel['serving']): Finding[] {
  if (typeof replicas === 'number') return []
  const { min, max, wake } = replicas
  const path = [...at, 'replicas']
  const found: Finding[] = []
  if (min > max) found.push(finding(path, `can't be kept: min ${min} is above max ${max}`, 'swap them.'))
  if (wake !== undefined && min > 0)
    found.push(
      finding(
        [...path, 'wake'],
        `has no meaning while there is always a replica (min ${min})`,
        'remove it, or write min: 0.',
      ),
    )
  if (wake !== undefined && min === 0 && wake > timeout)
    found.push(
      finding(
        [...path, 'wake'],
        `is longer than a request may take: it is answered with 504 after ${seconds(timeout)}`,
        `remove it, or make serving.timeout longer.`,
      ),
    )
  return found
}

function checkIsolate(at: Path, { isolate, server }: WrittenModel['serving']): Finding[] {
  return isolate === 'auto' ? [] : beside(server, at, 'remove it: your server is a process of its own.')
}

/** Of a field that means nothing beside a server of the user's own. */
function beside(server: WrittenModel['serving']['server'], at: Path, fix: string): Finding[] {
  return server === undefined ? [] : [finding(at, 'is for models that Millrace serves itself', fix)]
}

function checkRules(at: Path, { rules }: WrittenModel['serving']): Finding[] {
  const conditions = rules.map((rule) => JSON.stringify([toKey(rule), rule.equals]))
  return duplicates(conditions).map((i) =>
    finding([...at, 'rules', i], 'can never decide: an earlier rule has the same condition', 'remove one of them.'),
  )
}

function checkEnrich(at: Path, { enrich, server }: WrittenModel['serving']): Finding[] {
  if (enrich.length === 0) return []
  const found = beside(server, at, 'read the table in your server: it lies beside the model.')
  const columns = enrich.flatMap((table) => table.columns)
  for (const i of duplicates(columns)) {
    const table = enrich.findLastIndex((one) => one.columns.includes(columns[i]!))
    found.push(finding([...at, table, 'columns'], `gives '${columns[i]}' a second time`, 'name each column once.'))
  }
  enrich.forEach((table, i) => found.push(...checkTable([...at, i], table, columns)))
  return found
}

function checkPrepare(at: Path, { prepare, server, enrich, timeout }: WrittenModel['serving']): Finding[] {
  if (prepare === undefined) return []
  const found = beside(server, at, 'prepare the request in your server: it gets what callers send.')
  if (enrich.length > 0)
    found.push(
      finding(
        at,
        `can't stand beside 'enrich': a table gives columns of the model, which the step makes itself`,
        'read the table in the step: it lies in MILLRACE_MODEL_DIR, beside the model.',
      ),
    )
  if (prepare.timeout !== undefined && prepare.timeout > timeout)
    found.push(
      finding(
        [...at, 'timeout'],
        `is longer than a request may take: it is answered with 504 after ${seconds(timeout)}`,
        'make it shorter, or serving.timeout longer.',
      ),
    )
  return found
}

type WrittenTable = WrittenModel['serving']['enrich'][number]

function checkTable(
  at: Path,
  { table, key, columns, missing, stale, staleness }: WrittenTable,
  given: string[],
): Finding[] {
  const found: Finding[] = []
  const name = typeof key === 'string' ? key : key.parameter
  if (table === 'model.onnx') found.push(finding([...at, 'table'], 'is the model', 'name the Parquet file beside it.'))
  if (given.includes(name))
    found.push(
      finding([...at, 'key'], `is '${name}', which a table gives`, 'let callers send it: leave it out of columns.'),
    )
  if (stale === 'use' && staleness === undefined)
    found.push(finding([...at, 'stale'], 'has no meaning without a limit', 'add staleness: "2d", or remove it.'))
  if (typeof missing === 'object') {
    const without = columns.filter((column) => !Object.hasOwn(missing, column))
    const unknown = Object.keys(missing).filter((column) => !columns.includes(column))
    if (without.length > 0)
      found.push(finding([...at, 'missing'], `has no value for ${without.join(', ')}`, 'give one for each column.'))
    if (unknown.length > 0)
      found.push(
        finding([...at, 'missing'], `has a value for ${unknown.join(', ')}, which it does not give`, 'remove it.'),
      )
  }
  return found
}

function checkLimits(at: Path, { concurrency, perCaller }: WrittenModel['serving']['limits']): Finding[] {
  if (concurrency === undefined || perCaller === undefined || perCaller <= concurrency) return []
  return [
    finding(
      [...at, 'perCaller'],
      `can't be reached: all callers together may have ${concurrency} requests`,
      `write at most ${concurrency}.`,
    ),
  ]
}

/** All of them are asked for each request. */
const MEMBERS_MAX = 64

/** Names that the lake uses for itself. */
const namesOfTheLake = ['predictions', 'labels']

/** Gathers among each other, and with the models that they ask. */
export function checkGathers(project: WrittenProject): Finding[] {
  const models = Object.keys(project.models)
  const gathers = Object.keys(project.endpoints)
  return Object.entries(project.endpoints).flatMap(([name, endpoint]) => {
    const at: Path = ['endpoints', name]
    return [
      ...checkName(at, name, project.models),
      ...checkMembers([...at, 'gather', 'members'], name, endpoint, models, gathers),
      ...checkQuorum([...at, 'gather'], endpoint),
      ...checkLimits([...at, 'limits'], endpoint.limits),
    ]
  })
}

/** Its predictions are logged under its name, as a model's are under the model's. */
function checkName(at: Path, name: string, models: WrittenProject['models']): Finding[] {
  if (namesOfTheLake.includes(name))
    return [finding(at, `can't be called '${name}', which is a table of the lake`, 'choose another name.')]
  if (Object.hasOwn(models, name))
    return [finding(at, 'is called as a model is', 'give the endpoint a name of its own.')]
  const owner = Object.entries(models).find(([, model]) => model.endpoint === name)
  if (owner === undefined) return []
  return [finding(at, `is called as the endpoint of model '${owner[0]}' is`, 'give each endpoint a name of its own.')]
}

function checkMembers(
  at: Path,
  gather: string,
  { gather: { members } }: WrittenEndpoint,
  models: string[],
  gathers: string[],
): Finding[] {
  const names = members.map((member) => member.model)
  const unknown = names.flatMap((name, i) => {
    if (models.includes(name)) return []
    if (name === gather) return [finding([...at, i], 'is the endpoint itself', 'name the models that are to be asked.')]
    if (gathers.includes(name))
      return [finding([...at, i], `is an endpoint that asks several models, not a model`, 'name its models instead.')]
    const similar = nearest(name, models)
    const fix = similar === null ? `use one of ${models.join(', ')}.` : `did you mean '${similar}'?`
    return [finding([...at, i], `names the unknown model '${name}'`, fix)]
  })
  const twice = duplicates(names).map((i) =>
    finding(
      [...at, i],
      `is listed twice`,
      `remove it; several versions of one model are { model: '${names[i]}', versions: 2 }.`,
    ),
  )
  return [...unknown, ...twice]
}

function checkQuorum(at: Path, { gather, timeout }: WrittenEndpoint): Finding[] {
  const members = gather.members.reduce((sum, member) => sum + member.versions, 0)
  const found: Finding[] = []
  if (members > MEMBERS_MAX)
    found.push(
      finding(
        [...at, 'members'],
        `are ${members} versions, of ${MEMBERS_MAX} at most`,
        'name fewer models or versions.',
      ),
    )
  if (gather.quorum > members)
    found.push(
      finding(
        [...at, 'quorum'],
        `can't be reached: it is ${gather.quorum}, and ${members === 1 ? 'one member is' : `${members} members are`} asked`,
        `write at most ${members}.`,
      ),
    )
  if (gather.deadline > timeout)
    found.push(
      finding(
        [...at, 'deadline'],
        `is longer than a request may take: it is answered with 504 after ${seconds(timeout)}`,
        `make it shorter, or the endpoint's timeout longer.`,
      ),
    )
  return found
}

const seconds = (ms: number) => (ms < 1_000 ? `${ms} ms` : `${Number((ms / 1_000).toFixed(2))} s`)
