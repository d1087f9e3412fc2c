import { ownIdentity, startedOf } from '../process-identity.ts'
import { readStepPid } from './step-files.ts'

/** Of a tick in /proc/pid/stat, which is a hundredth of a second on every machine that Node runs on. @see proc(5) */
const TICK_MS = 10

/**
 * How long a step's process has been there: start times are counted from boot, so that nobody who sets the clock changes
 * it; by how much they differ from this process's own, of which the age is known.
 * @returns null before the process has written down who it is, after a reboot, and where start times are those of the
 * clock (macOS)
 */
export function stepAgeMs(dir: string): number | null {
  if (process.platform !== 'linux') return null
  const identity = readStepPid(dir)
  const started = identity === null ? null : startedOf(identity.startTime)
  const ownStarted = startedOf(ownIdentity().startTime)
  if (started === null || ownStarted === null) return null
  return Math.max(0, process.uptime() * 1_000 + (ownStarted - started) * TICK_MS)
}
