import { serveModels } from '../serving/model-server/serve-models.ts'
import type { ServeOptions } from '../serving/model-server/serve-models.ts'

export interface ServedFile {
  port: number
  /** Where it is called: `/v2/models/<name>`. */
  name: string
  version: string
  /** Finishes what was asked, then stops. */
  close(): Promise<void>
}

/**
 * One ONNX file over HTTP with no control plane, as `millrace serve` serves it. Ready when it returns; prints nothing.
 * @param options.name - the file's name without its ending unless given
 * @param options.port - 0 for any that is free
 * @throws ModelNotServableError, ListenError
 */
export async function serveFile(options: Omit<ServeOptions, 'paths'> & { path: string }): Promise<ServedFile> {
  const served = await serveModels({ ...options, paths: [options.path] })
  const { name, version } = served.models[0]!
  return {
    port: served.port,
    name,
    version,
    close: async () => {
      await served.close()
    },
  }
}
