import type { FileHandle } from 'node:fs/promises'
import { open, rename, statfs, unlink } from 'node:fs/promises'
import { makeDir, syncDir } from '../../kernel/lake/durable-files.ts'

/** What the spool asks of a disk; a test puts its own in place to see the order of writes and syncs, or to fail them. */
export interface SpoolFs {
  makeDir(path: string): Promise<void>
  /** Creates the file; fails if it exists. */
  create(path: string): Promise<SpoolFile>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  syncDir(path: string): Promise<void>
  /** Bytes that an ordinary user may still write on the disk of `path`. */
  freeBytes(path: string): Promise<number>
}

export interface SpoolFile {
  /** Writes all of it at `position` or throws. */
  write(bytes: Buffer, position: number): Promise<void>
  /** fdatasync */
  sync(): Promise<void>
  truncate(length: number): Promise<void>
  close(): Promise<void>
}

export const diskFs: SpoolFs = {
  makeDir,
  syncDir,
  rename,
  unlink,
  create: async (path) => new DiskFile(await open(path, 'wx')),
  async freeBytes(path) {
    const disk = await statfs(path)
    return disk.bavail * disk.bsize
  },
}

class DiskFile implements SpoolFile {
  private readonly handle: FileHandle

  constructor(handle: FileHandle) {
    this.handle = handle
  }

  /** A nearly full disk takes part of a write without an error; the next try then says ENOSPC. */
  async write(bytes: Buffer, position: number): Promise<void> {
    let written = 0
    while (written < bytes.length) {
      const { bytesWritten } = await this.handle.write(bytes, written, bytes.length - written, position + written)
      written += bytesWritten
    }
  }

  sync(): Promise<void> {
    return this.handle.datasync()
  }

  truncate(length: number): Promise<void> {
    return this.handle.truncate(length)
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}
