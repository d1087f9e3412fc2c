import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface LoadOrder {
  port: number
  path: string
  body: string
  connections: number
  /** Not counted. */
  warmMs: number
  countMs: number
}

export interface LoadResult {
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  /** Answers that were no 200. */
  failed: number
}

/** Asks as fast as it is answered, from a process of its own. */
export function load(order: LoadOrder): Promise<LoadResult> {
  const child = fork(fileURLToPath(new URL('./load-child.ts', import.meta.url)), { execArgv: [] })
  child.send(order)
  return new Promise((resolve, reject) => {
    child.once('message', (result) => resolve(result as LoadResult))
    child.once('exit', (code) => reject(new Error(`the load generator ended with ${code}`)))
  })
}
