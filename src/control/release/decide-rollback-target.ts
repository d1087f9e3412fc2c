/**
 * Where `rollback` goes when it is not told: one step back in what was champion, never forward again to what was
 * rolled back. The history is read as an undo stack: a release pushes, a rollback takes everything above its target.
 * @param history - every change of the champion, oldest first
 * @param mayServe - false for what was rejected or deleted since
 * @returns the newest that is left below the top; null: there is none
 */
export function rollbackTarget(
  history: { versionId: string | null; byRollback: boolean }[],
  mayServe: (versionId: string) => boolean,
): string | null {
  const stack: string[] = []
  for (const { versionId, byRollback } of history) {
    if (versionId === null) continue
    const below = stack.lastIndexOf(versionId)
    if (byRollback && below >= 0) stack.length = below + 1
    else if (stack.at(-1) !== versionId) stack.push(versionId)
  }
  const live = stack.pop()
  return stack.findLast((versionId) => versionId !== live && mayServe(versionId)) ?? null
}
