import type { LogCounters } from './log-counters.ts'
import { addCounters } from './log-counters.ts'
import type { LabelTotals, ModelTotals, QuarantineTotals } from './manifest.ts'
import { readManifest } from './manifest.ts'
import type { SpoolBacklog } from './spool-backlog.ts'

/** What the lake holds, from its newest manifest alone (no query, so the control plane may ask). */
export interface LakeTotals {
  manifest: number
  files: number
  bytes: number
  predictions: number
  rows: number
  models: Record<string, ModelTotals>
  labels: LabelTotals
  quarantine: QuarantineTotals
  /** Counters of gateways whose spool is gone. */
  retired: LogCounters
}

export async function lakeTotals(lakeDir: string): Promise<LakeTotals> {
  const { number, files, models, labels, quarantine, retired } = await readManifest(lakeDir)
  const all = Object.values(models)
  return {
    manifest: number,
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    predictions: all.reduce((sum, model) => sum + model.predictions, 0),
    rows: all.reduce((sum, model) => sum + model.rows, 0),
    models,
    labels,
    quarantine,
    retired: retired.counters,
  }
}

/** Served = logged = in the lake. */
export interface Reconciliation {
  answered: number
  logged: number
  sampledOut: number
  dropped: number
  inLake: number
  inSpool: number
  labels: number
  labelsMatched: number
  labelsUnmatched: number
  /** Age of the oldest segment that is not in the lake. */
  lagMs: number
  manifest: number
  agrees: boolean
  /** Where it disagrees. */
  why: string | null
}

/**
 * Holds the gateways' counters against the spool and the lake. While traffic flows the counters are up to a second
 * old and a segment may be counted in both places, so a small difference means nothing until things are quiet.
 */
export function reconcile(lake: LakeTotals, spool: SpoolBacklog, nowMs: number): Reconciliation {
  const { answered, logged, sampledOut, dropped, labels } = addCounters(spool.counters, lake.retired)
  const inSpool = spool.waiting.predictions
  const found = lake.predictions + inSpool + lake.quarantine.predictions
  const unlogged = answered - logged - sampledOut - dropped
  const why: string[] = []
  if (unlogged !== 0)
    why.push(`${unlogged} answered predictions were neither logged, sampled out nor counted as dropped`)
  if (found !== logged)
    why.push(
      `${logged} logged, but ${found} found: ${lake.predictions} in the lake, ${inSpool} in the spool, ${lake.quarantine.predictions} quarantined`,
    )
  if (lake.quarantine.damagedBytes > 0)
    why.push(`${lake.quarantine.damagedBytes} bytes of the spool were damaged on disk`)
  return {
    answered,
    logged,
    sampledOut,
    dropped,
    labels,
    inSpool,
    inLake: lake.predictions,
    labelsMatched: lake.labels.matched,
    labelsUnmatched: lake.labels.unmatched,
    lagMs: spool.waiting.oldestAtMs === null ? 0 : Math.max(0, nowMs - spool.waiting.oldestAtMs),
    manifest: lake.manifest,
    agrees: unlogged === 0 && found === logged,
    why: why.length === 0 ? null : why.join('; '),
  }
}
