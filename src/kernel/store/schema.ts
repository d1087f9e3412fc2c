import type { ColumnType, Generated, GeneratedAlways, JSONColumnType } from 'kysely'

/**
 * The tables, one type each, in the order in which the loop fills them. Times are epoch milliseconds (`…_at_ms`) or
 * calendar milliseconds (`…calendar_ms`, `as_of_ms`), stored as bigint and read as number. Ids are readable
 * (`run-12`) and generated from `seq`. JSON columns hold what their stage's noun file says.
 */
export interface Database {
  revision: RevisionTable
  model: ModelTable
  trigger_state: TriggerStateTable
  trigger_firing: TriggerFiringTable
  run: RunTable
  step: StepTable
  attempt: AttemptTable
  version: VersionTable
  alias: AliasTable
  alias_history: AliasHistoryTable
  evaluation: EvaluationTable
  gate: GateTable
  release: ReleaseTable
  deployment: DeploymentTable
  replica: ReplicaTable
  route: RouteTable
  traffic: TrafficTable
  sli: SliTable
  event: EventTable
  setting: SettingTable
}

/** bigint in SQL, number in JavaScript (safe up to 2^53). */
type Ms = number
/** Written as JSON text, read parsed. */
type Json<T> = ColumnType<T, string, string>
type NullableJson<T> = ColumnType<T | null, string | null, string | null>

export interface RevisionTable {
  id: Generated<number>
  digest: string
  source: string
  source_path: string
  project: Json<unknown>
  applied_by: string
  applied_at_ms: Ms
}

/** A model stays known after it has left the configuration: then it is paused, never deleted. */
export interface ModelTable {
  name: string
  status: string
  updated_at_ms: Ms
}

export interface TriggerStateTable {
  model: string
  trigger_name: string
  /** What was there at the last firing, as the trigger's kind needs it. */
  seen: Json<unknown>
  last_fired_at_ms: Ms | null
  why_not: string | null
}

/** One row a firing; the key makes it happen once. */
export interface TriggerFiringTable {
  model: string
  trigger_name: string
  firing_key: string
  run_id: string
  at_ms: Ms
  calendar_ms: Ms
  why: string
}

export interface RunTable {
  seq: GeneratedAlways<number>
  id: GeneratedAlways<string>
  model: string
  revision_id: number
  status: string
  why: string | null
  trigger_kind: string
  trigger_why: string
  as_of_ms: Ms
  params: Json<unknown>
  seed: number
  code_digest: string | null
  cancel_why: string | null
  created_at_ms: Ms
  started_at_ms: Ms | null
  ended_at_ms: Ms | null
}

export interface StepTable {
  run_id: string
  name: string
  position: number
  status: string
  spec: Json<unknown>
  why: string | null
  /** Of the finished step: its output directory and its model directory as artifacts. */
  output_digest: string | null
  model_digest: string | null
  retry_at_ms: Ms | null
  started_at_ms: Ms | null
  ended_at_ms: Ms | null
}

export interface AttemptTable {
  run_id: string
  step: string
  number: number
  token: string
  status: string
  why: string | null
  exit_code: number | null
  dir: string
  /** Lineage: what went in (digests) and where it ran. */
  inputs: NullableJson<unknown>
  environment: NullableJson<unknown>
  started_at_ms: Ms
  ended_at_ms: Ms | null
}

export interface VersionTable {
  seq: GeneratedAlways<number>
  /** `model@number` */
  id: string
  model: string
  number: number
  status: string
  why: string | null
  run_id: string | null
  revision_id: number
  model_digest: string
  size_bytes: number
  signature: NullableJson<unknown>
  score_output: NullableJson<unknown>
  lineage: Json<unknown>
  reported_metrics: NullableJson<unknown>
  approval: NullableJson<unknown>
  /** What became of it after the gate: `released`, `spare`, `awaiting-approval`; null while undecided. */
  disposition: string | null
  disposition_why: string | null
  profile_digest: string | null
  golden_digest: string | null
  /** When training ended: lead time counts from here. */
  trained_at_ms: Ms
  created_at_ms: Ms
  created_calendar_ms: Ms
}

export interface AliasTable {
  model: string
  alias: string
  version_id: string
}

export interface AliasHistoryTable {
  seq: GeneratedAlways<number>
  model: string
  alias: string
  /** null: the alias was removed. */
  version_id: string | null
  cause: string
  at_ms: Ms
  calendar_ms: Ms
}

export interface EvaluationTable {
  seq: GeneratedAlways<number>
  id: GeneratedAlways<string>
  version_id: string
  champion_id: string | null
  status: string
  why: string | null
  attempts: number
  figures: NullableJson<unknown>
  losses_digest: string | null
  holdout_digest: string | null
  created_at_ms: Ms
  ended_at_ms: Ms | null
}

export interface GateTable {
  seq: GeneratedAlways<number>
  id: GeneratedAlways<string>
  version_id: string
  evaluation_id: string | null
  verdict: string
  why: string
  checks: Json<unknown>
  proven_better: boolean
  decided_at_ms: Ms
}

export interface ReleaseTable {
  seq: GeneratedAlways<number>
  id: GeneratedAlways<string>
  kind: string
  endpoint: string
  model: string
  version_id: string
  previous_id: string | null
  deployment_id: string | null
  status: string
  why: string | null
  cause: string
  requested_by: string
  created_at_ms: Ms
  status_at_ms: Ms
  switched_at_ms: Ms | null
  first_answer_at_ms: Ms | null
  ended_at_ms: Ms | null
}

export interface DeploymentTable {
  seq: GeneratedAlways<number>
  id: GeneratedAlways<string>
  endpoint: string
  model: string
  version_id: string
  status: string
  why: string | null
  replicas_wanted: number
  /** Set once preflight has passed: only then do gateways see it. */
  discoverable: boolean
  created_at_ms: Ms
  ended_at_ms: Ms | null
}

export interface ReplicaTable {
  seq: GeneratedAlways<number>
  id: GeneratedAlways<string>
  deployment_id: string
  token: string
  status: string
  why: string | null
  created_at_ms: Ms
  ended_at_ms: Ms | null
}

export interface RouteTable {
  endpoint: string
  model: string
  members: Json<{ deploymentId: string; weightPercent: number }[]>
  updated_at_ms: Ms
}

/** Gateways' counts by minute, the raw material of the serving SLIs. */
export interface TrafficTable {
  minute_ms: Ms
  endpoint: string
  version_id: string
  requests: number
  failed: number
  interrupted: number
  latency_counts: JSONColumnType<number[]>
}

/** One measured value of one phase's indicator. */
export interface SliTable {
  seq: GeneratedAlways<number>
  phase: string
  indicator: string
  model: string
  value: number
  good: boolean
  subject: string
  at_ms: Ms
}

export interface EventTable {
  id: Generated<number>
  entity: string
  entity_id: string
  from_status: string | null
  to_status: string
  cause: string
  at_ms: Ms
  calendar_ms: Ms
  detail: NullableJson<unknown>
}

/** Small facts that must survive: the routing epoch and revision. */
export interface SettingTable {
  key: string
  value: Json<unknown>
}
