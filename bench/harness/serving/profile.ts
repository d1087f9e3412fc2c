import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** As `node --cpu-prof` writes it; as much of it as is read here. */
interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[]
  samples: number[]
  timeDeltas: number[]
}

export interface SelfTime {
  /** Function and file, e.g. `parseHead dist/chunks/request-head.js:12`. */
  what: string
  selfUs: number
}

/** Time by function, without what it calls; the longest first. Idle time is left out. */
export function selfTimes(folder: string): SelfTime[] {
  const file = readdirSync(folder).find((name) => name.endsWith('.cpuprofile'))
  if (file === undefined) throw new Error(`there is no profile in ${folder}`)
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const times = new Map<string, number>()
  for (const [i, id] of samples.entries()) {
    const what = names.get(id) ?? ''
    times.set(what, (times.get(what) ?? 0) + (timeDeltas[i] ?? 0))
  }
  times.delete('(idle)')
  return Array.from(times, ([what, selfUs]) => ({ what, selfUs })).toSorted((a, b) => b.selfUs - a.selfUs)
}

function nameOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const name = functionName === '' ? '(anonymous)' : functionName
  if (url === '') return name
  const place = url.startsWith('node:') ? url : url.split('/').slice(-1)[0]
  return `${name} ${place}:${lineNumber + 1}`
}

/** @param requests - that were answered while it was made */
export function profileTable(title: string, times: readonly SelfTime[], requests: number, rows = 40): string {
  const total = times.reduce((sum, { selfUs }) => sum + selfUs, 0)
  const lines = times.slice(0, rows).map(({ what, selfUs }) => {
    const share = ((100 * selfUs) / total).toFixed(1)
    return `| ${what.replaceAll('|', '\\|')} | ${(selfUs / requests).toFixed(2)} | ${share}% |`
  })
  return [`## ${title}`, '', '| function | µs a request | share |', '|---|--:|--:|', ...lines, ''].join('\n')
}
