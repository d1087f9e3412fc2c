import type { Path } from './schema-tree.ts'

/** A place in a text, both from 1. */
export interface Position {
  line: number
  column: number
}

/**
 * Where the field at a path is written: its name, or the item of a list. Where the path goes further than the text
 * (a missing field, a value that code computed) the nearest place above; null where nothing can be told.
 */
export type Locate = (path: Path) => Position | null

export interface SourceMapOfFields {
  locate: Locate
  /** Fields written twice in one object, of which all but the last would be lost unseen. */
  duplicates: { field: string; at: Position }[]
}

/** @param offset - in UTF-16 units, from 0 */
export function positionAt(text: string, offset: number): Position {
  const before = text.slice(0, offset)
  const line = before.split('\n').length
  return { line, column: offset - before.lastIndexOf('\n') }
}
