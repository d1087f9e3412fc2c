import { stripTypeScriptTypes } from 'node:module'
import { parse } from 'acorn'
import type { AnyNode, Expression, Node, ObjectExpression, Program, Property } from 'acorn'
import { messageOf } from '../kernel/errors.ts'
import { positionAt } from './position.ts'
import type { Position, SourceMapOfFields } from './position.ts'
import type { Path } from './schema-tree.ts'

/**
 * Finds fields in millrace.config.ts without running it. Stripping replaces types by blanks and keeps every offset, so
 * that a tree of the JavaScript tells places in the TypeScript. What can't be followed (calls, conditions, imports) ends
 * the search at the place reached so far.
 */
export type CodeMap =
  | ({ kind: 'map' } & SourceMapOfFields & { importOf(specifier: string): Position | null })
  | { kind: 'unreadable'; message: string; at: Position | null }

export function mapCode(source: string, typescript: boolean): CodeMap {
  try {
    const code = typescript ? stripTypes(source) : source
    const program = parseProgram(code)
    const scope: Scope = { constants: constantsOf(program), hops: 0 }
    const start = exportedNode(program)
    return {
      kind: 'map',
      locate: (path) => (start === null ? null : locate(start, path, scope, source)),
      duplicates: duplicatesIn(program, source),
      importOf: (specifier) => importOf(program, specifier, source),
    }
  } catch (error) {
    return { kind: 'unreadable', message: messageOf(error).replace(/ \(\d+:\d+\)$/, ''), at: errorPosition(error) }
  }
}

interface Scope {
  constants: Map<string, Expression>
  /** References followed so far: two constants may name each other. */
  hops: number
}

const HOPS_MAX = 50

/** Node says at first use that this function is experimental; that is nothing a user of Millrace can act on. */
function stripTypes(source: string): string {
  const own = Object.getOwnPropertyDescriptor(process, 'emitWarning')!
  process.emitWarning = () => {}
  try {
    return stripTypeScriptTypes(source)
  } finally {
    Object.defineProperty(process, 'emitWarning', own)
  }
}

function parseProgram(code: string): Program {
  const options = { ecmaVersion: 'latest', allowHashBang: true, allowReturnOutsideFunction: true } as const
  try {
    return parse(code, { ...options, sourceType: 'module' })
  } catch (moduleError) {
    try {
      return parse(code, { ...options, sourceType: 'script' })
    } catch {
      throw moduleError // the script's complaint would be about `import`
    }
  }
}

function errorPosition(error: unknown): Position | null {
  const { loc, stack } = error as { loc?: { line: number; column: number }; stack?: string }
  return loc === undefined ? positionInStack(stack ?? '') : { line: loc.line, column: loc.column + 1 }
}

/** Node writes before some errors' text: the file and line, that line, and a caret below the place. */
export function positionInStack(stack: string): Position | null {
  const match = /^[^\n]*:(\d+)\n([\s\S]*?\n)?( *)\^+/.exec(stack)
  return match === null ? null : { line: Number(match[1]), column: match[3]!.length + 1 }
}

/** `export default X`, `export { x as default }` or `module.exports = X`. */
function exportedNode(program: Program): Node | null {
  for (const statement of program.body) {
    if (statement.type === 'ExportDefaultDeclaration') return statement.declaration
    if (statement.type === 'ExportNamedDeclaration') {
      const found = statement.specifiers.find(
        (one) => one.exported.type === 'Identifier' && one.exported.name === 'default',
      )
      if (found !== undefined) return found.local
    }
    if (statement.type === 'ExpressionStatement' && statement.expression.type === 'AssignmentExpression') {
      const { left, right } = statement.expression
      if (left.type === 'MemberExpression' && left.property.type === 'Identifier' && left.property.name === 'exports')
        return right
    }
  }
  return null
}

function constantsOf(program: Program): Map<string, Expression> {
  const constants = new Map<string, Expression>()
  for (const statement of program.body) {
    const declared = statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement
    if (declared?.type !== 'VariableDeclaration') continue
    for (const { id, init } of declared.declarations) if (id.type === 'Identifier' && init) constants.set(id.name, init)
  }
  return constants
}

function locate(start: Node, path: Path, scope: Scope, source: string): Position | null {
  let value = resolve(start, { ...scope })
  let place: Node | null = value
  for (const key of path) {
    const child: Child | null = value === null ? null : childAt(value, key, { ...scope })
    if (child === null) break
    place = child.place
    value = resolve(child.value, { ...scope })
  }
  return place === null ? null : positionAt(source, place.start)
}

/** Looks through defineProject(…), defineModel(…), `await` and names of constants. */
function resolve(node: Node, scope: Scope): Node | null {
  const any = node as AnyNode
  if (++scope.hops > HOPS_MAX) return null
  if (any.type === 'Identifier') {
    const constant = scope.constants.get(any.name)
    return constant === undefined ? null : resolve(constant, scope)
  }
  if (any.type === 'AwaitExpression') return resolve(any.argument, scope)
  if (any.type === 'CallExpression') {
    const [first] = any.arguments
    return isDefine(any.callee as AnyNode) && first !== undefined ? resolve(first, scope) : null
  }
  if (any.type === 'MemberExpression') {
    const object = resolve(any.object, scope)
    const key = staticKey(any.property as AnyNode, any.computed)
    const child = object === null || key === null ? null : childAt(object, key, scope)
    return child === null ? null : resolve(child.value, scope)
  }
  return node
}

const isDefine = (callee: AnyNode) => {
  const name = callee.type === 'MemberExpression' ? callee.property : callee
  return name.type === 'Identifier' && name.name.startsWith('define')
}

interface Child {
  place: Node
  value: Node
}

function childAt(node: Node, key: string | number, scope: Scope): Child | null {
  const any = node as AnyNode
  if (any.type === 'ArrayExpression') {
    const item = any.elements[Number(key)]
    const spread = any.elements.slice(0, Number(key) + 1).some((element) => element?.type === 'SpreadElement')
    return item && !spread ? { place: item, value: item } : null
  }
  return any.type === 'ObjectExpression' ? propertyOf(any, String(key), scope) : null
}

/** The last one wins, as it does when the code runs; spread objects are looked into. */
function propertyOf(object: ObjectExpression, key: string, scope: Scope): Child | null {
  for (const property of object.properties.toReversed()) {
    if (property.type === 'Property') {
      if (keyOf(property) === key) return { place: property.key, value: property.value }
      continue
    }
    const spread = resolve(property.argument, scope)
    const inside = spread === null ? null : childAt(spread, key, scope)
    if (inside !== null) return inside
  }
  return null
}

const keyOf = (property: Property) => staticKey(property.key as AnyNode, property.computed)

function staticKey(key: AnyNode, computed: boolean): string | null {
  if (key.type === 'Identifier') return computed ? null : key.name
  return key.type === 'Literal' ? String(key.value) : null
}

function duplicatesIn(program: Program, source: string): SourceMapOfFields['duplicates'] {
  return objectsIn(program).flatMap((object) => {
    const seen = new Set<string>()
    return object.properties.flatMap((property) => {
      const key = property.type === 'Property' && property.kind === 'init' ? keyOf(property) : null
      if (property.type !== 'Property' || key === null) return []
      const twice = seen.has(key)
      seen.add(key)
      return twice ? [{ field: key, at: positionAt(source, property.key.start) }] : []
    })
  })
}

function objectsIn(node: Node): ObjectExpression[] {
  const inner = Object.values(node)
    .flat()
    .filter(
      (child): child is Node => typeof child === 'object' && child !== null && typeof (child as Node).type === 'string',
    )
    .flatMap(objectsIn)
  return (node as AnyNode).type === 'ObjectExpression' ? [node as ObjectExpression, ...inner] : inner
}

function importOf(program: Program, specifier: string, source: string): Position | null {
  const found = program.body.find(
    (statement) => statement.type === 'ImportDeclaration' && matches(String(statement.source.value), specifier),
  )
  return found?.type === 'ImportDeclaration' ? positionAt(source, found.source.start) : null
}

/** Node names a missing file by its full path, a missing package by its name. */
const matches = (written: string, missing: string) =>
  written === missing || (written.startsWith('.') && missing.endsWith(written.replace(/^(\.\.?\/)+/, '/')))
