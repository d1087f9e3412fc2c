import { basename } from 'node:path'
import type { SpoolFile, SpoolFs } from './spool-fs.ts'
import { diskFs } from './spool-fs.ts'

/** For tests: the real disk, with a journal of what was asked of it, failures on demand and a free space to set. */
export interface WatchedFs extends SpoolFs {
  readonly journal: string[]
  /** The next call of that name throws this code, as often as given. */
  failNext(call: 'write' | 'sync' | 'truncate' | 'create' | 'rename', code: string, times?: number): void
  /** Half of the next write reaches the file before it fails. */
  tearNextWrite(code: string): void
  free: number
  /** While set, syncs wait for it. */
  gate: Promise<void> | null
}

export function watchedFs(): WatchedFs {
  const failures = new Map<string, { code: string; times: number; torn: boolean }>()
  const journal: string[] = []
  const check = (call: string): boolean => {
    const failure = failures.get(call)
    if (failure === undefined || failure.times === 0) return false
    failure.times--
    if (failure.torn) return true
    throw codeError(failure.code)
  }
  const fs: WatchedFs = {
    ...diskFs,
    journal,
    free: Number.MAX_SAFE_INTEGER,
    gate: null,
    failNext: (call, code, times = 1) => failures.set(call, { code, times, torn: false }),
    tearNextWrite: (code) => failures.set('write', { code, times: 1, torn: true }),
    freeBytes: async () => fs.free,
    async create(path) {
      check('create')
      journal.push(`create ${basename(path)}`)
      return watchedFile(await diskFs.create(path))
    },
    async rename(from, to) {
      check('rename')
      await diskFs.rename(from, to)
      journal.push(`rename ${basename(to)}`)
    },
    async syncDir(path) {
      await diskFs.syncDir(path)
      journal.push('sync folder')
    },
  }
  const watchedFile = (file: SpoolFile): SpoolFile => ({
    async write(bytes, position) {
      if (check('write')) {
        await file.write(bytes.subarray(0, bytes.length >> 1), position)
        throw codeError(failures.get('write')?.code ?? 'EIO')
      }
      await file.write(bytes, position)
      journal.push('write')
    },
    async sync() {
      if (fs.gate) await fs.gate
      check('sync')
      await file.sync()
      journal.push('sync')
    },
    async truncate(length) {
      check('truncate')
      await file.truncate(length)
      journal.push(`truncate ${length > 0 ? 'tail' : 'all'}`)
    },
    close: () => file.close(),
  })
  return fs
}

function codeError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code })
}
