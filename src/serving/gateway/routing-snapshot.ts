import type { RoutingSnapshot } from '../../kernel/contract/routing.ts'
import { messageOf } from '../../kernel/errors.ts'
import { RoutingSnapshotError } from './errors.ts'

/**
 * A snapshot from its JSON text, checked as far as the gateway relies on it: a half-written or foreign file must not
 * take the place of routes that work.
 * @param source - where the text comes from, for the error
 * @throws RoutingSnapshotError naming the field
 */
export function parseSnapshot(text: string, source: string): RoutingSnapshot {
  const fail = (why: string): never => {
    throw new RoutingSnapshotError(source, why)
  }
  const snapshot = parseJson(text, fail)
  requireThat(
    isCount(snapshot['epoch']) && isCount(snapshot['revision']),
    `'epoch' and 'revision' must be whole numbers`,
  )
  for (const [index, endpoint] of listOf(snapshot, 'endpoints', 'endpoints').entries()) {
    checkEndpoint(endpoint, `endpoints[${index}]`)
  }
  checkCallers(snapshot)
  return snapshot as unknown as RoutingSnapshot

  /** Routes of an earlier release know nobody by name. */
  function checkCallers(fields: Fields): void {
    const { anonymous = false } = fields
    requireThat(typeof anonymous === 'boolean', `'anonymous' must be true or false`)
    for (const [index, caller] of listOf({ callers: [], ...fields }, 'callers', 'callers').entries()) {
      const at = `callers[${index}]`
      requireStrings(caller, ['name'], at)
      for (const name of ['keyDigests', 'commonNames'])
        requireThat(areTexts(caller[name]), `'${at}.${name}' must be texts`)
      const { endpoints, concurrency } = caller
      requireThat(endpoints === null || areTexts(endpoints), `'${at}.endpoints' must be texts or null`)
      requireThat(isLimit(concurrency), `'${at}.concurrency' must be a whole number from 1 or null`)
    }
  }

  function checkLimits({ limits }: Fields, at: string): void {
    if (limits === undefined) return
    requireThat(isFields(limits), `'${at}.limits' must be an object`)
    const { concurrency, perCaller } = limits as Fields
    requireThat(isLimit(concurrency), `'${at}.limits.concurrency' must be a whole number from 1 or null`)
    requireThat(isLimit(perCaller), `'${at}.limits.perCaller' must be a whole number from 1 or null`)
  }

  function checkEndpoint(endpoint: Fields, at: string): void {
    requireStrings(endpoint, ['endpoint', 'model', 'logMode'], at)
    for (const name of ['logSamplePercent', 'bodyLimitBytes', 'timeoutMs']) {
      requireThat(Number.isFinite(endpoint[name]), `'${at}.${name}' must be a number`)
    }
    const known = new Set<unknown>()
    for (const [index, deployment] of listOf(endpoint, 'deployments', `${at}.deployments`).entries()) {
      checkDeployment(deployment, `${at}.deployments[${index}]`)
      known.add(deployment['deploymentId'])
    }
    for (const member of listOf(endpoint, 'members', `${at}.members`)) {
      requireThat(known.has(member['deploymentId']), `'${at}' gives traffic to an unknown deployment`)
      requireThat(isWeight(member['weightPercent']), `'${at}' has a weight outside 0–100`)
    }
    checkTrial(endpoint, at)
    checkFallback(endpoint, at)
    checkLimits(endpoint, at)
    checkWays(endpoint, at)
    if ((endpoint['gather'] ?? null) !== null) checkGather(endpoint['gather'], `${at}.gather`)
  }

  /** Routes of an earlier release have none of these. */
  function checkWays(endpoint: Fields, at: string): void {
    const sticky = endpoint['sticky'] ?? null
    requireThat(sticky === null || isKey(sticky), `'${at}.sticky' must name a header or a parameter`)
    for (const rule of listOf({ rules: [], ...endpoint }, 'rules', `${at}.rules`)) {
      requireThat(isKey(rule['key']), `'${at}.rules' has a rule without a header or a parameter`)
      requireStrings(rule, ['equals', 'deploymentId'], `${at}.rules`)
    }
    for (const pin of listOf({ pins: [], ...endpoint }, 'pins', `${at}.pins`)) {
      requireStrings(pin, ['caller', 'deploymentId'], `${at}.pins`)
      requireThat(Number.isFinite(pin['expiresAtMs']), `'${at}.pins' has a pin without an end`)
    }
  }

  function checkGather(gather: unknown, at: string): void {
    requireThat(isFields(gather), `'${at}' must be an object`)
    const fields = gather as Fields
    for (const name of ['deadlineMs', 'quorum']) {
      requireThat(Number.isFinite(fields[name]), `'${at}.${name}' must be a number`)
    }
    for (const member of listOf(fields, 'members', `${at}.members`)) {
      requireStrings(member, ['deploymentId', 'name'], `${at}.members`)
      const { weight } = member
      requireThat(typeof weight === 'number' && weight > 0, `'${at}' has a member without a weight`)
    }
    const combine = fields['combine']
    const kind = isFields(combine) ? combine['kind'] : null
    requireThat(COMBINE_KINDS.has(kind), `'${at}.combine.kind' is ${JSON.stringify(kind)}, which is no way to combine`)
    if (kind !== 'module') return
    requireStrings(combine as Fields, ['path', 'digest'], `${at}.combine`)
    requireThat(Number.isFinite((combine as Fields)['timeoutMs']), `'${at}.combine.timeoutMs' must be a number`)
  }

  /** A file of an earlier release has none of these fields: then there is no trial. */
  function checkTrial(endpoint: Fields, at: string): void {
    endpoint['trial'] ??= null
    endpoint['mirrors'] ??= []
    endpoint['disabled'] ??= null
    const { trial, disabled } = endpoint
    requireThat(trial === null || (typeof trial === 'string' && trial !== ''), `'${at}.trial' must be text or null`)
    requireThat(disabled === null || isFields(disabled), `'${at}.disabled' must be an object or null`)
    if (isFields(disabled)) requireStrings(disabled, ['why'], `${at}.disabled`)
    for (const mirror of listOf(endpoint, 'mirrors', `${at}.mirrors`)) {
      requireStrings(mirror, ['deploymentId'], `${at}.mirrors`)
      requireThat(isWeight(mirror['sharePercent']), `'${at}' has a mirror with a share outside 0–100`)
    }
  }

  function checkFallback(endpoint: Fields, at: string): void {
    const fallback = (endpoint['fallback'] ??= { kind: 'error' })
    const kind = isFields(fallback) ? fallback['kind'] : null
    requireThat(
      kind === 'error' || kind === 'constant' || kind === 'version',
      `'${at}.fallback.kind' must be error, constant or version`,
    )
    if (kind === 'version') requireStrings(fallback as Fields, ['deploymentId'], `${at}.fallback`)
    if (kind !== 'constant') return
    const { outputs } = fallback as Fields
    requireThat(
      isFields(outputs) && Object.values(outputs).every((value) => isConstant(value)),
      `'${at}.fallback.outputs' must be numbers, texts, true or false by output`,
    )
  }

  function checkDeployment(deployment: Fields, at: string): void {
    requireStrings(deployment, ['deploymentId', 'version'], at)
    const signature = deployment['signature']
    requireThat(isFields(signature), `'${at}.signature' is missing`)
    listOf(signature as Fields, 'inputs', `${at}.signature.inputs`)
    listOf(signature as Fields, 'outputs', `${at}.signature.outputs`)
    for (const replica of listOf(deployment, 'replicas', `${at}.replicas`)) {
      requireStrings(replica, ['replicaId', 'socketPath'], `${at}.replicas`)
    }
  }

  function listOf(fields: Fields, name: string, at: string): Fields[] {
    const list = fields[name]
    requireThat(Array.isArray(list) && list.every((item) => isFields(item)), `'${at}' must be a list of objects`)
    return list as Fields[]
  }

  function requireStrings(fields: Fields, names: string[], at: string): void {
    for (const name of names) requireThat(typeof fields[name] === 'string', `'${at}.${name}' must be text`)
  }

  function requireThat(holds: boolean, why: string): void {
    if (!holds) fail(why)
  }
}

type Fields = Record<string, unknown>

const COMBINE_KINDS: ReadonlySet<unknown> = new Set(['all', 'mean', 'weighted', 'vote', 'first', 'module'])

function areTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function isLimit(value: unknown): boolean {
  return value === null || (Number.isSafeInteger(value) && (value as number) >= 1)
}

function isKey(value: unknown): boolean {
  return isFields(value) && (typeof value['header'] === 'string' || typeof value['parameter'] === 'string')
}

function parseJson(text: string, fail: (why: string) => never): Fields {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return fail(`it is not JSON (${messageOf(error)})`)
  }
  return isFields(value) ? value : fail('it is not an object')
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isConstant(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isWeight(value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value <= 100
}
