import type { Path } from './schema-tree.ts'

/** What is wrong, before it is known where in the file that is. */
export interface Finding {
  path: Path
  message: string
  fix: string
}

export function finding(path: Path, message: string, fix: string): Finding {
  return { path, message, fix }
}

/** Indices of the items that were there before. */
export function duplicates(items: readonly string[]): number[] {
  return items.flatMap((item, i) => (items.indexOf(item) < i ? [i] : []))
}
