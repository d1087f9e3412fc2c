import type { z } from 'zod'
import type { Finding } from './finding.ts'
import { isPlannedField, isPlannedValue, plannedMessage } from './planned.ts'
import { projectSchema } from './schema.ts'
import { nameRule, variableRule } from './schema-fields.ts'
import { exampleAt, fieldNamesAt, listFields } from './schema-tree.ts'
import type { Path } from './schema-tree.ts'
import { nearest, safeName } from './suggest.ts'

type Issue = z.core.$ZodIssue

/**
 * Turns the schema's complaints into sentences with advice.
 * @param written - the configuration as it was written
 */
export function findings(issues: readonly Issue[], written: unknown): Finding[] {
  return withoutEchoes(issues.flatMap((issue) => findingsOf(issue, written)))
}

/** A field written wrongly is also missing; and where a planned one stands, the one it replaces is no news. */
function withoutEchoes(all: Finding[]): Finding[] {
  const unknown = all.filter((finding) => finding.message === notAField || finding.message === plannedMessage)
  const isEcho = (finding: Finding) =>
    finding.message === missing &&
    unknown.some(
      (other) =>
        sameParent(other.path, finding.path) && (other.message === plannedMessage || other.fix === meant(finding.path)),
    )
  return all.filter((finding) => !isEcho(finding))
}

const missing = 'is missing'
const notAField = 'is not a field'
const meant = (path: Path) => `did you mean "${String(path.at(-1))}"?`
const sameParent = (a: Path, b: Path) => a.length === b.length && a.slice(0, -1).every((key, i) => key === b[i])

/** The value at a path, undefined where there is none. */
export function valueAt(root: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, key) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    return (value as Record<string | number, unknown>)[key]
  }, root)
}

function findingsOf(issue: Issue, written: unknown): Finding[] {
  const path = issue.path as Path
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownField(path, key))
  if (issue.code === 'invalid_key') return [invalidKey(path, issue.issues[0]?.message ?? issue.message)]
  if (issue.code === 'invalid_union') return findings(insideUnion(issue, valueAt(written, path)), written)
  return [wrongValue(path, issue, written)]
}

/**
 * A union complains once for each of its forms. Of these the one counts that the user seems to have meant: the only one
 * that takes this kind of value at all, the one whose required fields are there, or that with the fewest complaints.
 */
function insideUnion(issue: Extract<Issue, { code: 'invalid_union' }>, value: unknown): Issue[] {
  const own = { ...issue, code: 'custom', input: undefined } as Issue
  const missingIn = (form: Issue[]) => form.filter((inner) => isMissing(inner, value)).length
  const order = (a: Issue[], b: Issue[]) => missingIn(a) - missingIn(b) || a.length - b.length
  const meant = issue.errors.filter((form) => !isOtherKind(form, value)).sort(order)
  const [best, second] = meant
  if (best === undefined) return [own]
  if (second !== undefined && order(best, second) === 0) return sharedUnknownKeys(issue, meant) ?? [own]
  return best.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }) as Issue)
}

function isMissing(inner: Issue, value: unknown): boolean {
  return (
    inner.code !== 'unrecognized_keys' && inner.path.length === 1 && valueAt(value, inner.path as Path) === undefined
  )
}

/** A form that takes no such value at all, whatever is in it. */
function isOtherKind(form: Issue[], value: unknown): boolean {
  return form.some((inner) => inner.path.length === 0 && isWholeMismatch(inner, value))
}

/** One literal among other forms (false, 'any') is seldom what was meant; of several words one may be misspelt. */
function isWholeMismatch(inner: Issue, value: unknown): boolean {
  if (inner.code === 'invalid_union') return inner.errors.every((form) => isOtherKind(form, value))
  if (inner.code === 'invalid_value') return typeof value !== 'string' || inner.values.length === 1
  return inner.code === 'invalid_type'
}

function sharedUnknownKeys(issue: Issue, forms: Issue[][]): Issue[] | null {
  const keysOf = (form: Issue[]) =>
    form.flatMap((inner) => (inner.code === 'unrecognized_keys' && inner.path.length === 0 ? inner.keys : []))
  const shared = forms.map(keysOf).reduce((a, b) => a.filter((key) => b.includes(key)))
  return shared.length === 0
    ? null
    : [{ code: 'unrecognized_keys', keys: shared, path: issue.path, message: '', input: {} } as Issue]
}

function unknownField(path: Path, key: string): Finding {
  const at = [...path, key]
  if (isPlannedField(key))
    return { path: at, message: plannedMessage, fix: `remove ${key}; docs/reference/config.md lists what there is.` }
  const known = fieldNamesAt(projectSchema, path)
  const similar = nearest(key, known)
  if (similar !== null) return { path: at, message: notAField, fix: meant([similar]) }
  const elsewhere = homeOf(key, path)
  if (elsewhere !== null) return { path: at, message: 'is not a field here', fix: `move it to ${elsewhere}.` }
  return { path: at, message: notAField, fix: `remove it, or use one of ${known.join(', ')}.` }
}

/** Paths of all fields; listed once, when the first advice is needed. */
let allPaths: string[] | null = null
const knownPaths = () => (allPaths ??= listFields(projectSchema).map((field) => field.path))

/** Where a field of this name belongs, near the path where it was written. */
function homeOf(key: string, path: Path): string | null {
  const homes = knownPaths()
    .filter((candidate) => candidate.endsWith(`.${key}`) || candidate === key)
    .map((candidate) =>
      candidate
        .split('.')
        .map((part, i) => (part === '*' ? String(path[i] ?? '<name>') : part))
        .join('.'),
    )
  const here = path.join('.')
  return homes.find((home) => home.startsWith(`${here}.`)) ?? homes[0] ?? null
}

function invalidKey(path: Path, rule: string): Finding {
  const key = String(path.at(-1))
  const safe =
    rule === nameRule
      ? safeName(key)
      : rule === variableRule
        ? key.replace(/[^A-Za-z0-9_]/g, '_').replace(/^[^A-Za-z]+/, '')
        : null
  return {
    path,
    message: `its name ${JSON.stringify(cut(key))} ${rule}`,
    fix: safe ? `call it "${safe}".` : 'choose another name.',
  }
}

function wrongValue(path: Path, issue: Issue, written: unknown): Finding {
  const value = valueAt(written, path)
  const field = String(path.at(-1) ?? '')
  if (isPlannedValue(field, value)) return { path, message: plannedMessage, fix: advice(path, written) }
  if (value === undefined && issue.code === 'invalid_type')
    return { path, message: missing, fix: missingAdvice(path, written) }
  const params = issue.code === 'custom' ? (issue.params as { fix?: string } | undefined) : undefined
  const message = issue.message.startsWith('must') ? issue.message : ruleFor(issue)
  return { path, message, fix: params?.fix ?? renamed(issue, value) ?? advice(path, written) }
}

function renamed(issue: Issue, value: unknown): string | null {
  if (typeof value !== 'string') return null
  const similar = issue.code === 'invalid_value' ? nearest(value, issue.values.map(String)) : null
  if (similar !== null) return `did you mean '${similar}'?`
  if (issue.message !== nameRule) return null
  const safe = safeName(value)
  return safe === null ? null : `call it "${safe}".`
}

function ruleFor(issue: Issue): string {
  if (issue.code === 'invalid_type')
    return issue.expected === 'array'
      ? 'must be a list'
      : issue.expected === 'object'
        ? 'must be an object'
        : `must be a ${issue.expected}`
  if (issue.code === 'invalid_value')
    return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`
  return `can't be used: ${issue.message}`
}

function missingAdvice(path: Path, written: unknown): string {
  if (path.length === 1 && path[0] === 'models') return `add models: { 'my-model': { train: 'python train.py' } }.`
  return `add ${exampleText(path, written) ?? String(path.at(-1))}.`
}

function advice(path: Path, written: unknown): string {
  const example = exampleText(path, written)
  if (example !== null) return `write for example ${example}.`
  const known = fieldNamesAt(projectSchema, path)
  return known.length > 0
    ? `use the fields ${known.join(', ')}.`
    : 'docs/reference/config.md shows what can be written there.'
}

function exampleText(path: Path, written: unknown): string | null {
  const example = exampleAt(projectSchema, path, Object.keys(valueAt(written, path.slice(0, -1)) ?? {}))
  if (example === undefined) return null
  const field = path.at(-1)
  return typeof field === 'string' ? `${field}: ${inCode(example)}` : inCode(example)
}

/** As it would be written in TypeScript and in YAML's flow style. */
function inCode(value: unknown): string {
  if (typeof value !== 'object' || value === null) return typeof value === 'string' ? quoted(value) : String(value)
  return `{ ${Object.entries(value)
    .map(([key, inner]) => `${key}: ${inCode(inner)}`)
    .join(', ')} }`
}

const quoted = (value: string) => (value.includes("'") ? `"${value}"` : `'${value}'`)

const cut = (text: string) => (text.length > 60 ? `${text.slice(0, 60)}…` : text)
