import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { reasonOf } from '../../kernel/errors.ts'

interface Known {
  /** Size, time and inode: while they are the same, so is the text. */
  stamp: string
  digest: string
}

/** Digests of users' combining modules, read again when a file changes: gateways load what has the digest they were told. */
export class ModuleFiles {
  readonly #known = new Map<string, Known>()
  readonly #onUnreadable: (path: string, why: string) => void

  constructor(onUnreadable: (path: string, why: string) => void) {
    this.#onUnreadable = onUnreadable
  }

  /** @param path - absolute; where it can't be read no file will have the digest */
  of(path: string): { path: string; digest: string } {
    try {
      const { size, mtimeMs, ino } = statSync(path)
      const stamp = `${size} ${mtimeMs} ${ino}`
      const known = this.#known.get(path)
      if (known?.stamp === stamp) return { path, digest: known.digest }
      const digest = `sha256:${createHash('sha256').update(readFileSync(path)).digest('hex')}`
      this.#known.set(path, { stamp, digest })
      return { path, digest }
    } catch (error) {
      this.#onUnreadable(path, reasonOf(error))
      return { path, digest: 'unreadable' }
    }
  }
}
