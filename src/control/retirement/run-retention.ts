import { sql } from 'kysely'

/** Of ended runs these keep what they left: logs, outputs, code. Ages are calendar time. */
export interface RunRetention {
  /** What is older goes, and what lies beyond the newest of its model … */
  runMaxAgeMs: number
  runsKept: number
  /** … but the newest runs that failed stay. */
  failedRunsKept: number
}

/** Ids of the runs that keep what they left, those under way among them: a query to stand in another. */
export function keptRuns({ runMaxAgeMs, runsKept, failedRunsKept }: RunRetention, calendarMs: number) {
  const before = Math.round(calendarMs) - runMaxAgeMs
  return sql<{ id: string }>`
    select id from (
      select run.id, run.status,
        row_number() over (partition by run.model order by run.seq desc) as place,
        row_number() over (partition by run.model, run.status order by run.seq desc) as place_of_status
      from run) ranked
    where status in ('queued', 'running')
      or (status = 'failed' and place_of_status <= ${failedRunsKept})
      or (place <= ${runsKept} and ${before} <= coalesce(
        (select max(calendar_ms) from event where entity = 'run' and entity_id = ranked.id), 0))`
}
