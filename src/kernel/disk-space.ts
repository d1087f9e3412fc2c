import { statfsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'

export interface FreeSpace {
  /** True while nothing new should be accepted. */
  readonly low: boolean
  /** What this user may still write. */
  readonly freeBytes: number
  close(): void
}

export interface FreeSpaceOptions {
  path: string
  minFreeBytes: number
  everyMs?: number
  onChange?: (low: boolean, freeBytes: number) => void
  /** The file system can't be asked; the last answer stays. */
  onError?: (error: unknown) => void
  /** For tests. */
  measure?: (path: string) => Promise<number>
}

const EVERY_MS = 1_000
/** It is enough again only with a tenth more, so that it doesn't flicker around the mark. */
const ENOUGH_AGAIN = 1.1

/** Watches the free space of the file system that holds `path`, from now on. @throws if it can't be asked at all */
export function watchFreeSpace(options: FreeSpaceOptions): FreeSpace {
  const { path, minFreeBytes, everyMs = EVERY_MS, measure = measureFreeBytes } = options
  let freeBytes = options.measure === undefined ? freeOf(statfsSync(path)) : minFreeBytes
  let low = freeBytes < minFreeBytes
  let closed = false

  const look = async () => {
    freeBytes = await measure(path)
    const next = freeBytes < minFreeBytes * (low ? ENOUGH_AGAIN : 1)
    if (next === low || closed) return
    low = next
    options.onChange?.(low, freeBytes)
  }
  const timer = setInterval(() => void look().catch((error: unknown) => options.onError?.(error)), everyMs)
  timer.unref()
  return {
    get low() {
      return low
    },
    get freeBytes() {
      return freeBytes
    },
    close() {
      closed = true
      clearInterval(timer)
    },
  }
}

export async function measureFreeBytes(path: string): Promise<number> {
  return freeOf(await statfs(path))
}

function freeOf({ bavail, bsize }: { bavail: number; bsize: number }): number {
  return bavail * bsize
}
