import { request } from 'node:http'
import { MillraceError } from '../../kernel/errors.ts'
import { parseInferResponse } from '../../kernel/protocol/inference.ts'
import { goldenMismatch, type GoldenRow } from '../evaluation/golden-rows.ts'

export interface PreflightResult {
  kind: 'passed' | 'failed'
  why: string
}

export interface PreflightPlan {
  /** Where the replica listens; a server of the user's own on a port of this machine. */
  place: { socketPath: string } | { port: number }
  /** As the replica calls it. */
  model: string
  /** Null: it counts none. */
  version: string | null
  rows: GoldenRow[]
  tolerance: number
  timeoutMs: number
}

/** Replays the golden rows on a replica that no client can reach yet, one request a row, then all at once. */
export async function preflight(plan: PreflightPlan): Promise<PreflightResult> {
  if (plan.rows.length === 0) return { kind: 'passed', why: 'loaded and warmed up; there are no golden rows to replay' }
  const deadlineMs = performance.now() + plan.timeoutMs
  const slowestMs = await replay(plan, deadlineMs)
  if (typeof slowestMs !== 'number') return slowestMs
  // Together they meet the batcher, which must give each caller its own rows back.
  const together = await Promise.all(plan.rows.map((row) => check(plan, row, deadlineMs)))
  const mixed = together.find((result) => result.why !== null)
  if (mixed !== undefined) return { kind: 'failed', why: `sent together: ${mixed.why}` }
  return {
    kind: 'passed',
    why: `${plan.rows.length} golden rows answered as evaluated, the slowest in ${slowestMs.toFixed(1)} ms`,
  }
}

async function replay(plan: PreflightPlan, deadlineMs: number): Promise<number | PreflightResult> {
  let slowestMs = 0
  for (const row of plan.rows) {
    const { why, tookMs } = await check(plan, row, deadlineMs)
    if (why !== null) return { kind: 'failed', why }
    slowestMs = Math.max(slowestMs, tookMs)
  }
  return slowestMs
}

async function check(
  plan: PreflightPlan,
  row: GoldenRow,
  deadlineMs: number,
): Promise<{ why: string | null; tookMs: number }> {
  const startMs = performance.now()
  const answer = await infer(plan, row, Math.max(1, deadlineMs - startMs))
  const tookMs = performance.now() - startMs
  if (answer.status !== 200)
    return {
      tookMs,
      why: `golden row ${row.row} was answered with ${answer.status}: ${answer.body.toString().slice(0, 300)}`,
    }
  const mismatch = goldenMismatch(row, parseInferResponse(answer.body).outputs, plan.tolerance)
  return { tookMs, why: mismatch === null ? null : `golden ${mismatch} (tolerance ${plan.tolerance})` }
}

function infer(plan: PreflightPlan, row: GoldenRow, timeoutMs: number): Promise<{ status: number; body: Buffer }> {
  const version = plan.version === null ? '' : `/versions/${encodeURIComponent(plan.version)}`
  const path = `/v2/models/${encodeURIComponent(plan.model)}${version}/infer`
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        ...plan.place,
        path,
        method: 'POST',
        timeout: timeoutMs,
        headers: { 'content-type': 'application/json' },
      },
      (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks) }))
        answer.on('error', reject)
      },
    )
    sent.on('timeout', () => sent.destroy(new PreflightTimeoutError(timeoutMs)))
    sent.on('error', reject)
    sent.end(row.request)
  })
}

class PreflightTimeoutError extends MillraceError {
  constructor(timeoutMs: number) {
    super({
      code: 'MR_PREFLIGHT_TIMEOUT',
      kind: 'unavailable',
      message: `A golden row was not answered within ${Math.round(timeoutMs)} ms.`,
      fix: 'Raise release.preflight.timeout, or look for what slows the model down.',
    })
  }
}
