import { fileURLToPath } from 'node:url'
import { evaluateConfig } from './evaluate.ts'
import type { Outcome } from './evaluate.ts'
import { mapCode, positionInStack } from './locate-code.ts'
import type { CodeMap } from './locate-code.ts'
import type { Locate, Position } from './position.ts'
import type { Finding } from './finding.ts'

/** A file's plain value with the places of its fields, or what kept it from having one. */
export type ReadFile = { kind: 'value'; value: unknown; locate: Locate } | { kind: 'broken'; problems: Broken[] }

/** A problem with its place already known; `file` only where it is not the configuration itself. */
export type Broken = Pick<Finding, 'message' | 'fix'> & { path: Finding['path']; at: Position | null; file?: string }

type Failure = Exclude<Outcome, { kind: 'value' }>

/** Runs millrace.config.ts. @param timeoutMs - after this it is stopped and counts as hanging */
export async function readCode(path: string, source: string, timeoutMs: number): Promise<ReadFile> {
  const map = mapCode(source, /\.m?ts$/.test(path))
  const outcome = await evaluateConfig(path, timeoutMs)
  if (outcome.kind !== 'value') return { kind: 'broken', problems: explain(outcome, map, path) }
  // A tree that could not be made costs only the places: Node has understood the file.
  if (map.kind === 'unreadable') return { kind: 'value', value: outcome.value, locate: () => null }
  const twice = map.duplicates.map(({ field, at }) =>
    broken(`writes "${field}" twice in one object: only the last would count`, 'remove one of them.', at),
  )
  return twice.length > 0
    ? { kind: 'broken', problems: twice }
    : { kind: 'value', value: outcome.value, locate: map.locate }
}

function explain(outcome: Failure, map: CodeMap, path: string): Broken[] {
  const top = map.kind === 'map' ? map.locate([]) : null
  switch (outcome.kind) {
    case 'threw':
      return [explainThrown(outcome, map, path)]
    case 'notPlain':
      return outcome.found.map(({ path: field, what }) => ({
        ...broken(
          `is ${what}, which can't be kept in a revision`,
          'write plain texts, numbers, true or false, lists and objects.',
          map.kind === 'map' ? map.locate(field) : null,
        ),
        path: field,
      }))
    case 'noDefault': {
      const hint = outcome.exported.length > 0 ? ` (it exports ${outcome.exported.join(', ')})` : ''
      return [broken(`has no default export${hint}`, 'end it with export default defineProject({ … }).', null)]
    }
    case 'timedOut':
      return [
        broken(
          `did not finish within ${outcome.afterMs / 1_000} s and was stopped`,
          'take out what waits or loops: a configuration only declares.',
          top,
        ),
      ]
    case 'ended':
      return [explainEnd(outcome, top)]
  }
}

function explainEnd(ended: Extract<Failure, { kind: 'ended' }>, top: Position | null): Broken {
  if (/heap out of memory|allocation failed/i.test(ended.output))
    return broken('ran out of memory', 'build less in it: a configuration only declares.', top)
  const how = ended.signal === null ? `with exit code ${ended.exitCode}` : `by ${ended.signal}`
  const last = ended.output.trim().split('\n').at(-1)
  const said = last ? `; the last it printed: ${JSON.stringify(last.slice(0, 200))}` : ''
  return broken(
    `ended its process ${how} before it gave a configuration${said}`,
    'take out process.exit and whatever else ends a program.',
    top,
  )
}

function explainThrown(thrown: Extract<Failure, { kind: 'threw' }>, map: CodeMap, path: string): Broken {
  if (thrown.code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX')
    return broken(
      thrown.message,
      'write plain objects and constants: only types may be TypeScript.',
      placeOf(thrown, map, path).at,
    )
  if (thrown.name === 'SyntaxError')
    return {
      ...broken(`can't be read: ${thrown.message}`, 'correct the code at this place.', null),
      ...placeOf(thrown, map, path),
    }
  const missing = /Cannot find (?:package|module) '([^']+)'/.exec(thrown.message)?.[1]
  if (missing !== undefined) {
    const at = map.kind === 'map' ? map.importOf(missing) : null
    return broken(
      `imports '${missing}', which is not there`,
      missing.startsWith('/') ? 'correct the path.' : `install it in the project's folder: npm install ${missing}.`,
      at,
    )
  }
  const message = `threw ${thrown.name}: ${thrown.message.split('\n')[0]!.slice(0, 500)}`
  return { ...broken(message, 'correct what this line relies on.', null), ...placeOf(thrown, map, path) }
}

/** From the error's own head line, its first stack frame in the user's files, or the tree that could not be made. */
function placeOf(thrown: { name: string; stack: string }, map: CodeMap, path: string): Pick<Broken, 'at' | 'file'> {
  const head = positionInStack(thrown.stack)
  if (head !== null) {
    const file = thrown.stack
      .split('\n')[0]!
      .replace(/:\d+$/, '')
      .replace(/^file:\/\//, '')
    return file === path ? { at: head } : { at: head, file }
  }
  if (thrown.name === 'SyntaxError') return { at: map.kind === 'unreadable' ? map.at : null }
  for (const [, url, line, column] of thrown.stack.matchAll(/(file:\/\/[^\s)]+):(\d+):(\d+)/g)) {
    const file = fileURLToPath(url!)
    const at = { line: Number(line), column: Number(column) }
    if (!/[/\\]config[/\\]evaluate-config\.[jt]s$/.test(file)) return file === path ? { at } : { at, file }
  }
  return { at: null }
}

function broken(message: string, fix: string, at: Position | null): Broken {
  return { path: [], message, fix, at }
}
