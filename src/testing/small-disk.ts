import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A file system of its own that a test can fill to the last byte. */
export interface SmallDisk {
  path: string
  /** Until not a byte is free. */
  fill(): void
  /** What was filled is free again. */
  empty(): void
  remove(): void
}

/** @returns null where a test may not mount one: it needs root */
export function smallDisk(sizeBytes: number): SmallDisk | null {
  const path = mkdtempSync(join(tmpdir(), 'millrace-small-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', path], { stdio: 'ignore' })
  } catch {
    rmSync(path, { recursive: true })
    process.stderr.write('skipped: tests on a full disk need the right to mount a tmpfs; run them as root\n')
    return null
  }
  const ballast = join(path, 'ballast')
  return {
    path,
    fill: () => fillWith(ballast),
    empty: () => rmSync(ballast, { force: true }),
    remove: () => {
      execFileSync('umount', ['-l', path])
      rmSync(path, { recursive: true, force: true })
    },
  }
}

function fillWith(path: string): void {
  const file = openSync(path, 'a')
  try {
    for (const bytes of [64 * 1024, 1]) {
      const block = Buffer.alloc(bytes)
      while (writes(file, block)) continue
    }
  } finally {
    closeSync(file)
  }
}

function writes(file: number, block: Buffer): boolean {
  try {
    return writeSync(file, block) > 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false
    throw error
  }
}
