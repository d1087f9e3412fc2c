import { existsSync } from 'node:fs'
import { request } from 'node:http'
import { messageOf } from '../../../kernel/errors.ts'
import { isAlive, readProcessRecord, readProcessRecords } from '../../../kernel/runtime/process-record.ts'
import type { ProcessRecord } from '../../../kernel/runtime/process-record.ts'
import { ProcessMetricsError, ProcessUnknownError } from '../errors.ts'

const ASK_MS = 5_000
const ANSWER_BYTES_MAX = 16 * 1024 * 1024

/** What answers `GET /metrics` on its socket. */
const TELLING: ReadonlySet<ProcessRecord['role']> = new Set(['gateway', 'replica'])

/**
 * The metrics of another process of this installation, asked for over its own socket: also of the second of several
 * gateways on one port, and of replicas, whose ports nobody knows beforehand.
 * @throws ProcessUnknownError, ProcessMetricsError
 */
export async function metricsOf(dataDir: string, id: string): Promise<string> {
  const record = /^\w[\w.-]{0,199}$/.test(id) ? readProcessRecord(dataDir, id) : null
  if (record === null || !isAlive(record)) throw new ProcessUnknownError(id)
  if (!tells(record)) throw new ProcessMetricsError(id, whyNone(record))
  try {
    return await ask(record.socketPath)
  } catch (error) {
    throw new ProcessMetricsError(id, messageOf(error), error)
  }
}

function whyNone({ role }: ProcessRecord): string {
  return role === 'replica'
    ? 'it stands for a command of your own, which tells its own'
    : `a ${role} has none of its own`
}

function ask(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(ASK_MS)
    const call = request({ socketPath, path: '/metrics', agent: false, signal }, (response) => {
      const parts: Buffer[] = []
      let bytes = 0
      response.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes > ANSWER_BYTES_MAX) response.destroy(new Error(`it tells more than ${ANSWER_BYTES_MAX} bytes`))
        else parts.push(part)
      })
      response.on('error', reject)
      response.on('end', () =>
        response.statusCode === 200
          ? resolve(Buffer.concat(parts).toString('utf8'))
          : reject(new Error(`it answers with status ${response.statusCode}`)),
      )
    })
    call.on('error', reject)
    call.end()
  })
}

/** One group of `http_sd_configs`. @see Prometheus, "HTTP SD" */
export interface ScrapeTarget {
  targets: [string]
  labels: Record<string, string>
}

/**
 * Every process that can be asked, each as a target at the control plane's own address, which asks it.
 * @param address - of the control API, `127.0.0.1:8702`
 */
export function scrapeTargets(dataDir: string, address: string): ScrapeTarget[] {
  return readProcessRecords(dataDir)
    .filter((record) => isAlive(record) && (record.role === 'control-plane' || tells(record)))
    .map(({ id, role }) => ({ targets: [address], labels: { __param_process: id, instance: id, process_role: role } }))
}

/** A replica that stands for somebody's own command has no socket. */
function tells(record: ProcessRecord): record is ProcessRecord & { socketPath: string } {
  const { role, socketPath } = record
  return TELLING.has(role) && socketPath !== null && existsSync(socketPath)
}
