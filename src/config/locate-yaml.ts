import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml'
import type { Document, Node } from 'yaml'
import { messageOf } from '../kernel/errors.ts'
import { CIRCULAR, notPlainIn } from './plain-value.ts'
import type { Locate, Position } from './position.ts'

export type YamlFile =
  | { kind: 'value'; value: unknown; locate: Locate }
  | { kind: 'unreadable'; problems: { message: string; at: Position }[] }

/** Reads millrace.yaml (YAML 1.2, so that `on:` is a text and not true) and remembers where each field is. */
export function readYaml(source: string): YamlFile {
  const lines = new LineCounter()
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, version: '1.2' })
  const wrong = [...document.errors, ...document.warnings]
  if (wrong.length > 0)
    return { kind: 'unreadable', problems: wrong.map((e) => ({ message: e.message, at: position(e.pos[0]) })) }
  try {
    const value = document.toJS({ maxAliasCount: ALIASES_MAX }) as unknown
    const endless = notPlainIn(value).find(({ what }) => what === CIRCULAR)
    if (endless !== undefined) {
      const at = locate(document, endless.path, position) ?? { line: 1, column: 1 }
      return { kind: 'unreadable', problems: [{ message: 'An alias stands for what it is part of', at }] }
    }
    return { kind: 'value', value, locate: (path) => locate(document, path, position) }
  } catch (error) {
    return { kind: 'unreadable', problems: [{ message: messageOf(error), at: { line: 1, column: 1 } }] }
  }
}

/** Values behind aliases, counted as they unfold: a few lines can stand for millions. */
const ALIASES_MAX = 100

function locate(
  document: Document,
  path: Parameters<Locate>[0],
  position: (offset: number) => Position,
): Position | null {
  let node = document.contents as Node | null
  let offset = node?.range?.[0]
  for (const key of path) {
    const child = childAt(document, node, key)
    if (child === null) break
    node = child.value
    offset = child.offset ?? offset
  }
  return offset === undefined ? null : position(offset)
}

function childAt(
  document: Document,
  node: Node | null,
  key: string | number,
): { value: Node | null; offset: number | undefined } | null {
  const target = isAlias(node) ? node.resolve(document) : node
  if (isSeq(target)) {
    const item = target.items[Number(key)] as Node | undefined
    return item === undefined ? null : { value: item, offset: item.range?.[0] }
  }
  if (!isMap(target)) return null
  const pair = target.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key))
  return pair === undefined ? null : { value: pair.value as Node | null, offset: (pair.key as Node).range?.[0] }
}
