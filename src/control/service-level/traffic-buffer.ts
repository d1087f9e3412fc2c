import type { GatewayReport, TrafficReport } from '../../kernel/contract/routing.ts'
import type { ControlContext } from '../control-context.ts'
import { recordCallers } from '../caller/caller-requests.ts'
import { isOfJoining, recordJoins } from '../release/gather-requests.ts'
import { OTHER_CALLERS, recordPins } from '../retirement/pin-requests.ts'
import { recordTraffic } from './traffic-store.ts'

/** Starts of gateways, those that spoke last: one that crashes again and again must not be remembered without end. */
const STARTS_KEPT = 1_000

export interface TrafficBuffer {
  /** @returns whether something of a trial, or of a version that joins a gather, was counted, which somebody waits for */
  add(report: Pick<GatewayReport, 'token' | 'trafficSeq' | 'traffic' | 'callers'>): { ofTrial: boolean }
  flush(): Promise<void>
}

/** Collects what gateways count, so that the database is written once a second and not at each report. */
export function trafficBuffer(context: Pick<ControlContext, 'store' | 'clock' | 'diskLow' | 'wake'>): TrafficBuffer {
  let pending = new Map<string, TrafficReport>()
  /** By name. */
  let callers = new Map<string, number>()
  /** By gateway start: a batch whose acknowledgement was lost is sent again under its number. */
  const counted = new Map<string, number>()
  const count = (report: TrafficReport) => {
    const same = pending.get(accountOf(report))
    if (same === undefined) pending.set(accountOf(report), structuredClone(report))
    else addReport(same, report)
  }
  const countCaller = (caller: string, requests: number) =>
    void callers.set(caller, (callers.get(caller) ?? 0) + requests)
  return {
    add({ token, trafficSeq, traffic, callers: called = [] }) {
      if (trafficSeq <= (counted.get(token) ?? -1)) return { ofTrial: false }
      counted.delete(token)
      if (counted.size >= STARTS_KEPT) counted.delete(counted.keys().next().value!)
      counted.set(token, trafficSeq)
      for (const { caller, requests } of called) countCaller(caller, requests)
      // Refused before any version was chosen: of no version's account.
      const known = traffic.filter((report) => report.version !== '')
      for (const report of known) count(report)
      return { ofTrial: known.some((report) => report.trial !== null || isOfJoining(report)) }
    },
    async flush() {
      if ((pending.size === 0 && callers.size === 0) || context.diskLow()) return
      const taken = [...pending.values()]
      const called = Array.from(callers, ([caller, requests]) => ({ caller, requests }))
      pending = new Map()
      callers = new Map()
      let joined = false
      try {
        await context.store.transaction(async (tx) => {
          await recordTraffic(tx, context.clock, taken)
          await recordPins(tx, context.clock, taken)
          await recordCallers(tx, context.clock, called)
          joined = await recordJoins(tx, taken)
        })
      } catch (error) {
        for (const report of taken) count(report)
        for (const { caller, requests } of called) countCaller(caller, requests)
        throw error
      }
      if (taken.some((report) => report.trial !== null)) context.wake('release')
      if (joined) context.wake('deployment')
    },
  }
}

/** Copies, fallback answers and trials are counted apart from what clients got. */
const accountOf = ({ endpoint, model, version, origin, trial }: TrafficReport): string =>
  JSON.stringify([endpoint, model, version, origin, trial])

function addReport(sum: TrafficReport, report: TrafficReport): void {
  sum.requests += report.requests
  sum.failed += report.failed
  sum.interrupted += report.interrupted
  if (report.rescued !== undefined) sum.rescued = (sum.rescued ?? 0) + report.rescued
  if (report.dropped !== undefined) sum.dropped = (sum.dropped ?? 0) + report.dropped
  sum.latencyCounts = sum.latencyCounts.map((n, i) => n + (report.latencyCounts[i] ?? 0))
  for (const [bucket, n] of Object.entries(report.fineLatency))
    sum.fineLatency[bucket] = (sum.fineLatency[bucket] ?? 0) + n
  for (const { caller, requests } of report.pinned) addPin(sum.pinned, caller, requests)
  sum.firstAnswerAtMs ??= report.firstAnswerAtMs
}

/** Gateways tell so many callers apart in one report, too: what is kept must not grow while nothing can be written. */
const CALLERS_MAX = 100

function addPin(pinned: TrafficReport['pinned'], caller: string, requests: number): void {
  const known = pinned.find((pin) => pin.caller === caller)
  if (known !== undefined) known.requests += requests
  else if (pinned.length < CALLERS_MAX - 1 || caller === OTHER_CALLERS) pinned.push({ caller, requests })
  else addPin(pinned, OTHER_CALLERS, requests)
}
