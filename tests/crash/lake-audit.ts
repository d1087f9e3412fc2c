import type { ControlApi } from '../../src/surface/client/control-plane.ts'
import type { Traffic } from './traffic.ts'
import { until } from './until.ts'

/** What the lake must hold of what the client was promised. */
export interface LakeAudit {
  /** Prediction ids that were acknowledged and are not in the lake. */
  lost: string[]
  /** Ids that are in it more than once. */
  doubled: string[]
  /** In the lake, but their answer was cut off: allowed. */
  unacknowledged: number
  labelsLost: string[]
  /** Where `status` does not agree with itself; null: served = logged = in the lake. */
  disagreement: string | null
}

const PAGE_ROWS = 50_000

/** To be asked while the client is paused. Waits until the spool is empty. */
export async function auditLake(api: ControlApi, traffic: Traffic): Promise<LakeAudit> {
  await until('the spool to be in the lake', () => isIngested(api), { everyMs: 250 })
  const counts = new Map(await pages(api, 'SELECT prediction_id, count(*)::INTEGER FROM predictions_all'))
  const labels = new Map(await pages(api, 'SELECT prediction_id, any_value(label)::INTEGER FROM labels'))
  const { agrees, why } = await api.predictionLog.status()
  return {
    lost: [...traffic.acknowledged.keys()].filter((id) => !counts.has(id)),
    doubled: [...counts].filter(([, n]) => n > 1).map(([id]) => id),
    unacknowledged: [...counts.keys()].filter((id) => !traffic.acknowledged.has(id)).length,
    labelsLost: [...traffic.labelled].filter(([id, label]) => labels.get(id) !== label).map(([id]) => id),
    disagreement: agrees ? null : (why ?? 'no reason given'),
  }
}

/** A query moves what is sealed; what is open is sealed by its age. */
async function isIngested(api: ControlApi): Promise<boolean> {
  await api.predictionLog.query({ sql: 'SELECT 1', limit: 1 })
  return (await api.predictionLog.status()).inSpool === 0
}

/** All rows of a query that groups by prediction id, in pages that follow each other by the id. */
async function pages(api: ControlApi, select: string): Promise<[id: string, value: number][]> {
  const all: [string, number][] = []
  for (;;) {
    const last = all.at(-1)?.[0] ?? ''
    const sql = `${select} WHERE prediction_id > '${last}' GROUP BY 1 ORDER BY 1 LIMIT ${PAGE_ROWS}`
    const { rows } = await api.predictionLog.query({ sql, limit: PAGE_ROWS })
    all.push(...(rows as [string, number][]))
    if (rows.length < PAGE_ROWS) return all
  }
}
