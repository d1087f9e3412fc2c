import { createHash } from 'node:crypto'
import os from 'node:os'
import path from 'node:path'

/**
 * Where the control plane of a data directory listens. Short, since paths of unix sockets may have about 100 bytes only.
 * @param dataDir - absolute
 */
export function controlSocketPath(dataDir: string): string {
  const digest = createHash('sha256').update(path.resolve(dataDir)).digest('hex').slice(0, 12)
  const base = process.env['XDG_RUNTIME_DIR'] ?? os.tmpdir()
  return path.join(base, `millrace-${process.getuid?.() ?? 0}`, digest, 'control.sock')
}
