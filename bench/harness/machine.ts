import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { arch, cpus, loadavg, release, totalmem, type } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { packageRoot } from './package.ts'

export interface Machine {
  cpu: string
  cores: number
  memoryGb: number
  system: string
  /** Of the last minute, at the start and at the end. */
  loadAverage: { before: number; after: number }
}

export interface Versions {
  node: string
  millrace: string
  /** Null: not a clone. `dirty`: there were changes that are in no commit. */
  commit: string | null
  dirty: boolean
  dependencies: Record<string, string>
}

export const loadAverage = (): number => round(loadavg()[0]!)

/** How many processors are at work, over one second in which the bench itself does nothing. */
export async function busyProcessors(): Promise<number> {
  const before = cpus()
  await sleep(1_000)
  const busy = cpus().map(({ times }, i) => {
    const spent = Object.entries(times).map(([kind, ms]) => ({
      kind,
      ms: ms - (before[i]?.times[kind as 'user'] ?? 0),
    }))
    const idleMs = spent.find(({ kind }) => kind === 'idle')?.ms ?? 0
    return 1 - idleMs / spent.reduce((sum, { ms }) => sum + ms, 0)
  })
  return busy.reduce((sum, share) => sum + share, 0)
}

export function machine(loadBefore: number): Machine {
  const [first, ...others] = cpus()
  return {
    cpu: first?.model ?? 'unknown',
    cores: others.length + 1,
    memoryGb: round(totalmem() / 1e9),
    system: `${type()} ${release()} ${arch()}`,
    loadAverage: { before: loadBefore, after: loadAverage() },
  }
}

export function versions(): Versions {
  const { version, dependencies } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    version: string
    dependencies: Record<string, string>
  }
  const commit = git('rev-parse', '--short', 'HEAD')
  const dirty = commit !== null && git('status', '--porcelain', '--', 'src', 'package-lock.json') !== ''
  return { node: process.version, millrace: version, commit, dirty, dependencies }
}

/** Null where there is no git, or no repository. */
function git(...args: string[]): string | null {
  try {
    return execFileSync('git', args, { cwd: packageRoot, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return null
  }
}

const round = (value: number) => Math.round(value * 100) / 100
