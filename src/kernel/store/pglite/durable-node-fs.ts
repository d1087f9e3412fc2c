import { closeSync, fsyncSync, openSync } from 'node:fs'
import type { PGlite, postgresMod } from '@electric-sql/pglite'
import { NodeFS } from '@electric-sql/pglite/nodefs'
import { errnoOf } from '../../runtime/system-error.ts'

type Module = postgresMod.PostgresMod
interface NodeFsStream {
  /** The real descriptor; directories have none. */
  nfd?: number
  node: unknown
}
interface NodeFsType {
  stream_ops: { fsync?: (stream: NodeFsStream) => number }
  realPath(node: unknown): string
}

/**
 * PGlite's own NodeFS has no fsync, so that PostgreSQL's would do nothing and a power cut lose committed rows.
 * This one gives it the real fsync. Where the type lives has changed: `mod.NODEFS` from 0.5.15, before that
 * `FS.filesystems.NODEFS`.
 */
export class DurableNodeFS extends NodeFS {
  /** How many times PostgreSQL asked for an fsync, for tests. */
  fsyncs = 0

  override async init(pg: PGlite, options: Partial<Module>): Promise<{ emscriptenOpts: Partial<Module> }> {
    const { emscriptenOpts } = await super.init(pg, options)
    const installFsync = (mod: unknown): void => {
      const nodeFs = findNodeFs(mod)
      nodeFs.stream_ops.fsync = (stream) => {
        this.fsyncs++
        return syncStream(nodeFs, stream)
      }
    }
    const preRun = [...(Array.isArray(emscriptenOpts.preRun) ? emscriptenOpts.preRun : []), installFsync]
    return { emscriptenOpts: { ...emscriptenOpts, preRun } as Partial<Module> }
  }
}

function findNodeFs(mod: unknown): NodeFsType {
  const candidates = mod as { NODEFS?: NodeFsType; FS?: { filesystems?: { NODEFS?: NodeFsType } } }
  const found = candidates.NODEFS ?? candidates.FS?.filesystems?.NODEFS
  if (found?.stream_ops === undefined)
    throw new Error("This PGlite's file system can't be made durable: NODEFS is gone.")
  return found
}

/** @returns 0, or the WASI errno that PostgreSQL must see: an fsync that failed is a panic, never a success */
function syncStream(nodeFs: NodeFsType, stream: NodeFsStream): number {
  try {
    if (stream.nfd !== undefined) fsyncSync(stream.nfd)
    else syncPath(nodeFs.realPath(stream.node))
    return 0
  } catch (thrown) {
    const wasiErrno: Record<string, number> = { EBADF: 8, EIO: 29, ENOENT: 44, ENOSPC: 51, EROFS: 69, EDQUOT: 19 }
    return wasiErrno[errnoOf(thrown) ?? ''] ?? 29
  }
}

function syncPath(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
