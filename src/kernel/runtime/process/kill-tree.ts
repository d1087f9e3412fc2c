import { ProcessSurvivedError } from '../errors.ts'
import type { Mark } from '../marks.ts'
import { startedOf, type ProcessIdentity } from '../process-identity.ts'
import { errnoOf } from '../system-error.ts'
import { markedAmong, readProcessTable } from './process-table.ts'
import { selectTree, withAncestors, type TreeRoot } from './select-tree.ts'

export interface KillTreeOptions {
  /** Leaders of their own process groups (`detached`); may be dead already. */
  roots: readonly ProcessIdentity[]
  /** Finds those that have left group and parents, e.g. `{ name: ATTEMPT_MARK, value: token }`. */
  mark?: Mark
  /** From SIGTERM to SIGKILL; 0 sends SIGKILL at once. */
  graceMs: number
  /** How long to wait after SIGKILL. */
  killMs?: number
  /** When aborted, SIGKILL without further grace. */
  hurry?: AbortSignal
}

const KILL_MS = 5_000
const LOOK_MS_FIRST = 5
const LOOK_MS_MAX = 50

/**
 * Ends a whole tree of processes and waits until it is gone. Nothing to end is fine: it may be repeated.
 * @returns the pids that got a signal
 * @throws ProcessSurvivedError naming those that outlived SIGKILL
 */
export async function killTree(options: KillTreeOptions): Promise<number[]> {
  const signalled = new Set<number>()
  const killMs = options.killMs ?? KILL_MS
  if (options.graceMs > 0 && (await signalUntilGone(options, 'SIGTERM', options.graceMs, signalled)).length === 0) {
    return [...signalled]
  }
  const left = await signalUntilGone(options, 'SIGKILL', killMs, signalled)
  if (left.length > 0) throw new ProcessSurvivedError(left, killMs)
  return [...signalled]
}

/**
 * The pids of the tree that are alive now.
 * @param options.descendants - false: only what has the mark itself
 */
export async function findTree(
  { roots, mark }: Pick<KillTreeOptions, 'roots' | 'mark'>,
  { descendants = true } = {},
): Promise<number[]> {
  const table = await readProcessTable()
  const treeRoots = roots.flatMap((root) => asRoot(root) ?? [])
  // What was started before the first root can't carry its mark: that spares most of the machine's processes a look.
  const earliest = Math.min(...treeRoots.map((root) => root.started))
  const candidates = treeRoots.length === 0 ? table : table.filter((row) => row.started >= earliest)
  const marked = mark === undefined ? [] : markedAmong(candidates, mark)
  const spare = withAncestors(table, process.pid)
  return descendants ? selectTree(table, treeRoots, marked, spare) : marked.filter((pid) => !spare.has(pid))
}

/**
 * SIGTERM goes to each process once, since a second one often means "now!"; SIGKILL again and again, as a process may
 * fork while the table is being read.
 * @returns who is still alive at the end of the wait
 */
async function signalUntilGone(
  options: KillTreeOptions,
  signal: 'SIGTERM' | 'SIGKILL',
  waitMs: number,
  signalled: Set<number>,
): Promise<number[]> {
  const deadline = performance.now() + waitMs
  const told = new Set<number>()
  for (let lookMs = LOOK_MS_FIRST; ; lookMs = Math.min(LOOK_MS_MAX, lookMs * 2)) {
    const alive = await findTree(options)
    for (const pid of alive) {
      if (signal === 'SIGTERM' && told.has(pid)) continue
      told.add(pid)
      signalled.add(pid)
      sendSignal(pid, signal)
    }
    const hurry = signal === 'SIGTERM' && options.hurry?.aborted === true
    if (alive.length === 0 || hurry || performance.now() >= deadline) return alive
    await new Promise((resolve) => setTimeout(resolve, lookMs))
  }
}

function sendSignal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch (thrown) {
    // Gone meanwhile; or another user's (EPERM), which the wait then reports as surviving.
    if (errnoOf(thrown) !== 'ESRCH' && errnoOf(thrown) !== 'EPERM') throw thrown
  }
}

function asRoot({ pid, startTime }: ProcessIdentity): TreeRoot | null {
  const started = startedOf(startTime)
  return started === null ? null : { pid, started }
}
