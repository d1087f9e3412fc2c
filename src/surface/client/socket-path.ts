import path from 'node:path'

import { socketDir } from '../../kernel/runtime/socket-dir.ts'

/** Where the control plane of a data directory listens. @throws SocketDirError */
export function controlSocketPath(dataDir: string): string {
  return path.join(socketDir(dataDir), 'control.sock')
}
