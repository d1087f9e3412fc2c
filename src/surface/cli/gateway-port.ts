import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

import { GatewayPortUnknownError } from './errors.ts'

const WAIT_MS = 20_000
const LOOK_MS = 50
const ANSWER_MS = 1_000
const ANSWER_BYTES_MAX = 64 * 1_024

/**
 * The port on which a gateway is called that was started with "any free one".
 * @param socketPath - where it answers `GET /identity`
 * @throws GatewayPortUnknownError where it says none within 20 s
 */
export async function portOfGateway(socketPath: string, waitMs = WAIT_MS): Promise<number> {
  const endsAtMs = performance.now() + waitMs
  for (;;) {
    const port = await portNow(socketPath)
    if (port > 0) return port
    if (performance.now() > endsAtMs) throw new GatewayPortUnknownError(waitMs)
    await sleep(LOOK_MS)
  }
}

/** 0: it does not say (yet). */
function portNow(socketPath: string): Promise<number> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, path: '/identity', timeout: ANSWER_MS }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (piece: string) => {
        text += piece
        if (text.length > ANSWER_BYTES_MAX) asked.destroy()
      })
      response.on('end', () => resolve(portIn(text)))
      response.on('error', () => resolve(0))
    })
    asked.on('timeout', () => asked.destroy())
    asked.on('error', () => resolve(0)) // it is not up yet
    asked.on('close', () => resolve(0))
    asked.end()
  })
}

function portIn(text: string): number {
  try {
    const { port } = JSON.parse(text) as { port?: unknown }
    return typeof port === 'number' ? port : 0
  } catch {
    return 0 // cut off: it is asked again
  }
}
