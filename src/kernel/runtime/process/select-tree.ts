import type { ProcessRow } from './process-table.ts'

/** A process that was started as the leader of a session and group of its own. */
export interface TreeRoot {
  pid: number
  /** As in `ProcessRow.started`. */
  started: number
}

/**
 * Which processes belong to the tree of `roots`: the roots, their groups and sessions, those that are marked, and all
 * descendants of these. Works also when a root is long dead and its children remain.
 * @param marked - pids known to belong by the mark in their environment
 * @param spare - never among the result: this process and those above it
 */
export function selectTree(
  table: readonly ProcessRow[],
  roots: readonly TreeRoot[],
  marked: readonly number[],
  spare: ReadonlySet<number>,
): number[] {
  const byPid = new Map(table.map((row) => [row.pid, row]))
  const members = new Set(marked)
  for (const root of roots) {
    // A pid that is in use again says nothing about groups: then only marks count.
    const now = byPid.get(root.pid)
    if (now !== undefined && now.started !== root.started) continue
    for (const row of table) {
      const inGroup = row.pid === root.pid || row.group === root.pid || row.session === root.pid
      if (inGroup && row.started >= root.started) members.add(row.pid)
    }
  }
  addDescendants(table, members)
  return [...members].filter((pid) => byPid.has(pid) && !spare.has(pid))
}

function addDescendants(table: readonly ProcessRow[], members: Set<number>): void {
  const children = Map.groupBy(table, (row) => row.parent)
  // The set grows while it is walked, which visits what was added too.
  for (const pid of members) for (const child of children.get(pid) ?? []) members.add(child.pid)
}

/** A process and everything above it, up to the first. */
export function withAncestors(table: readonly ProcessRow[], pid: number): Set<number> {
  const parents = new Map(table.map((row) => [row.pid, row.parent]))
  const line = new Set<number>()
  for (let at: number | undefined = pid; at !== undefined && at > 0 && !line.has(at); at = parents.get(at)) line.add(at)
  return line
}
