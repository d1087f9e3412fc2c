import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { load } from '../load.ts'
import type { LoadResult } from '../load.ts'
import { commandPath, processorUs, spawnPinned } from './pinned.ts'

/** As many requests as are answered, over so many connections. */
export interface Drive {
  port: number
  path: string
  /** Asked in turn instead of `path`; only wrk can. */
  paths?: string[]
  body: string
  contentType?: string
  connections: number
  /** Not counted. */
  warmMs: number
  countMs: number
  cores: string
}

const wrk = commandPath('wrk')

/** What makes the load, for the results. */
export const generator = wrk === null ? "the harness's own" : 'wrk'

export function drive(order: Drive): Promise<LoadResult> {
  return wrk === null ? load(order) : driveByWrk(wrk, order)
}

export interface Driven extends LoadResult {
  /** Processor time of each process by request, in µs, in the order of the pids. */
  processorUs: number[]
}

/** The same, with what it costs the processes that answer. The warm-up is a run of its own. */
export async function driveMeasured(order: Drive, pids: readonly number[]): Promise<Driven> {
  if (order.warmMs > 0) await drive({ ...order, warmMs: 0, countMs: order.warmMs })
  const before = pids.map(processorUs)
  const result = await drive({ ...order, warmMs: 0 })
  const requests = result.requestsPerSecond * (order.countMs / 1_000)
  const spent = pids.map((pid, i) => (processorUs(pid) - before[i]!) / requests)
  if (result.failed > 0) throw new Error(`${result.failed} requests of ${order.path} failed`)
  return { ...result, processorUs: spent }
}

async function driveByWrk(command: string, order: Drive): Promise<LoadResult> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-wrk-'))
  const script = join(folder, 'post.lua')
  writeFileSync(script, luaOf(order))
  try {
    if (order.warmMs > 0) await runWrk(command, script, { ...order, countMs: order.warmMs })
    return await runWrk(command, script, order)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function runWrk(command: string, script: string, order: Drive): Promise<LoadResult> {
  const { port, connections, countMs, cores } = order
  const seconds = Math.max(1, Math.round(countMs / 1_000))
  // What takes long on a busy machine is no failure.
  const patience = ['--timeout', '15s']
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, ...patience, '-s', script, `http://127.0.0.1:${port}`]
  const child = spawnPinned(cores, command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout!.on('data', (part: Buffer) => (text += part.toString()))
  await once(child, 'close')
  const said = /^figures (.*)$/m.exec(text)?.[1]
  if (said === undefined) throw new Error(`wrk said nothing of what it measured:\n${text}`)
  const { requests, us, p50, p99, failed } = JSON.parse(said) as Record<string, number>
  return {
    requestsPerSecond: requests! / (us! / 1e6),
    p50Ms: p50! / 1_000,
    p99Ms: p99! / 1_000,
    failed: failed!,
  }
}

/** wrk's own interface: latencies are in µs. */
function luaOf({ path, paths, body, contentType = 'application/json' }: Drive): string {
  return `wrk.method = "POST"
wrk.path = ${JSON.stringify(path)}
wrk.headers["Content-Type"] = ${JSON.stringify(contentType)}
wrk.body = ${JSON.stringify(body)}
${paths === undefined ? '' : inTurn(paths)}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('figures {"requests":%d,"us":%d,"p50":%.1f,"p99":%.1f,"failed":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status + e.connect + e.read + e.write + e.timeout))
end
`
}

const inTurn = (paths: readonly string[]): string => `local requests, n = {}, 0
function init()
  for _, path in ipairs({${paths.map((path) => JSON.stringify(path)).join(', ')}}) do
    requests[#requests + 1] = wrk.format(nil, path)
  end
end
function request()
  n = n % #requests + 1
  return requests[n]
end`
