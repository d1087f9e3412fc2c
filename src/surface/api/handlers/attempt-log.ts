import { open, type FileHandle } from 'node:fs/promises'
import { isMissing } from '../../../kernel/runtime/system-error.ts'

/** A log of an attempt; null where it has none: it has not begun, or its folder was removed. */
export async function openAttemptLog(path: string): Promise<FileHandle | null> {
  try {
    return await open(path)
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}
