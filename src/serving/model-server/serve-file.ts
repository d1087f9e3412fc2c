import { basename, extname } from 'node:path'
import { createHttpFront } from './http.ts'
import { createModelServer } from './model-server.ts'

export interface ServedFile {
  port: number
  /** Where it is called: `/v2/models/<name>`. */
  name: string
  version: string
  /** Finishes what was asked, then stops. */
  close(): Promise<void>
}

/**
 * One ONNX file over HTTP with no control plane: `millrace serve model.onnx`. Ready when it returns; prints nothing.
 * @param options.name - the file's name without its ending unless given
 * @param options.port - 0 for any that is free
 * @throws ModelNotServableError, ListenError
 */
export async function serveFile(options: {
  path: string
  port: number
  host?: string
  name?: string
  version?: string
  features?: string[] | null
  /** Version of Millrace, for `GET /v2`. */
  serverVersion?: string
}): Promise<ServedFile> {
  const { path, port, host = '127.0.0.1', version = '1', features = null } = options
  const name = options.name ?? basename(path, extname(path))
  const models = createModelServer()
  const front = createHttpFront({ models, server: { name: 'millrace', version: options.serverVersion ?? '' } })
  await models.load({ model: name, version, path, digest: null, features })
  try {
    const listeningOn = await front.listenOnPort(host, port)
    const close = async (): Promise<void> => {
      await front.drain()
      await front.close()
      await models.close()
    }
    return { port: listeningOn, name, version, close }
  } catch (error) {
    await models.close()
    throw error
  }
}
