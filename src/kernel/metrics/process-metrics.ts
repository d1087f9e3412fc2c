import { readdirSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { counter, gauge, single } from './metric.ts'
import type { MetricFamily } from './metric.ts'

/** The names that every client library of Prometheus has, and what Node knows of its event loop at no cost. */
export const processMetrics = {
  build: gauge('millrace_build_info', { help: 'Always 1; says which version of Millrace runs.', labels: ['version'] }),
  cpu: counter('process_cpu_seconds_total', { help: 'Processor time of the process, in user mode and in the kernel.' }),
  started: gauge('process_start_time_seconds', { help: 'When the process began, in seconds since 1970.' }),
  memory: gauge('process_resident_memory_bytes', { help: 'Memory of the process that is in RAM.' }),
  files: gauge('process_open_fds', { help: 'Open files, sockets among them. Not on macOS.' }),
  heap: gauge('nodejs_heap_used_bytes', { help: 'Memory that JavaScript objects take.' }),
  external: gauge('nodejs_external_memory_bytes', {
    help: 'Memory outside the heap that objects hold, buffers among it.',
  }),
  busy: counter('nodejs_eventloop_active_seconds_total', {
    help: 'Time in which the event loop had work. Its rate is its utilisation: at 1 nothing more fits.',
  }),
} as const

export function processFamilies(version: string): MetricFamily[] {
  const { rss, heapUsed, external } = process.memoryUsage()
  const { user, system } = process.cpuUsage()
  return [
    { definition: processMetrics.build, samples: [{ labels: [version], value: 1 }] },
    single(processMetrics.cpu, (user + system) / 1e6),
    single(processMetrics.started, Math.round(performance.timeOrigin) / 1_000),
    single(processMetrics.memory, rss),
    openFiles(),
    single(processMetrics.heap, heapUsed),
    single(processMetrics.external, external),
    single(processMetrics.busy, performance.eventLoopUtilization().active / 1_000),
  ]
}

function openFiles(): MetricFamily {
  const definition = processMetrics.files
  try {
    return single(definition, readdirSync('/proc/self/fd').length - 1) // one of them reads the folder
  } catch {
    return { definition, samples: [] } // only Linux has the folder
  }
}
