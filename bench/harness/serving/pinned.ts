import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { afterName } from '../../../src/kernel/runtime/process/process-table.ts'

/**
 * Where what is measured runs: one process a core, so that what one takes is not what the other gets. With two cores the
 * load generator shares the second one; with more it has the third.
 */
export const CORES = {
  front: '0',
  back: availableParallelism() > 1 ? '1' : '0',
  load: availableParallelism() > 2 ? '2' : availableParallelism() > 1 ? '1' : '0',
  /** For a load generator beside two busy processes on two cores. */
  any: `0-${availableParallelism() - 1}`,
} as const

/** Whether a command is there, by its path. */
export function commandPath(name: string): string | null {
  try {
    return execFileSync('which', [name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim() || null
  } catch {
    return null // 'which' says so by its status
  }
}

const taskset = commandPath('taskset')
const children = new Set<ChildProcess>()
const groups = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  for (const child of groups) killGroup(child)
})

/** Of a process that was started `detached`: itself, and what it left behind. */
export function killGroup(child: ChildProcess): void {
  groups.delete(child)
  try {
    process.kill(-child.pid!, 'SIGKILL')
  } catch {
    // nothing is left
  }
}

/** Starts a process on these cores; without taskset anywhere. It is killed with the bench. */
export function spawnPinned(cores: string, command: string, args: string[], options: SpawnOptions): ChildProcess {
  const [file, all] = taskset === null ? [command, args] : [taskset, ['-c', cores, command, ...args]]
  const child = spawn(file, all, options)
  children.add(child)
  if (options.detached === true && child.pid !== undefined) groups.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

/** Waits for its end; after 5 s it is killed. */
export async function stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill(signal)
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
  await ended
  clearTimeout(timer)
}

/** Of the kernel's clock, 100 a second. */
const TICK_US = 10_000

/** Processor time of all its threads since it began, user and system, in µs. */
export function processorUs(pid: number): number {
  const fields = afterName(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  return (Number(fields[11]) + Number(fields[12])) * TICK_US
}
