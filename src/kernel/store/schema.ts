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
  trial: TrialTable
  trial_count: TrialCountTable
  trial_look: TrialLookTable
  freeze: FreezeTable
  histogram: HistogramTable
  quality: QualityTable
  monitor_state: MonitorStateTable
  alert: AlertTable
  notification: NotificationTable
  retirement: RetirementTable
  pin: PinTable
  version_use: VersionUseTable
  reevaluation: ReevaluationTable
  caller: CallerTable
  caller_key: CallerKeyTable
  caller_pin: CallerPinTable
  gather_member: GatherMemberTable
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
  kind: string | null
  paused_at_ms: Ms | null
  paused_why: string | null
  /** Of a cron: the next time it fires, calendar. */
  due_calendar_ms: Ms | null
  /** Set at a resume until the trigger has acted on it: what came before is fired only where catching up is asked. */
  resumed: NullableJson<{ calendarMs: number; catchUp: boolean }>
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
  /** When its retirement had removed its files; null: they are there. */
  deleted_at_ms: ColumnType<Ms | null, Ms | null | undefined, Ms | null>
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
  /** Why `replicas_wanted` is what it is, where the load has changed it. */
  scaled_why: ColumnType<string | null, string | null | undefined, string | null>
  scaled_at_ms: ColumnType<Ms | null, Ms | null | undefined, Ms | null>
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
  /** Deployments that get copies of live requests; their answers are discarded. */
  mirrors: ColumnType<{ deploymentId: string; sharePercent: number }[], string | undefined, string>
  /** The trial that the split or the copies belong to. */
  trial_id: ColumnType<string | null, string | null | undefined, string | null>
  /** Set by `millrace disable`. */
  disabled: ColumnType<{ why: string; by: string; sinceMs: number } | null, string | null | undefined, string | null>
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
  calendar_ms: ColumnType<Ms | null, Ms | null | undefined, Ms | null>
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

/** A shadow, or one step of a canary. Its id marks the requests that took part, in routes, reports and the lake. */
export interface TrialTable {
  seq: GeneratedAlways<number>
  id: GeneratedAlways<string>
  release_id: string
  endpoint: string
  /** `shadow` or `canary` */
  kind: string
  /** 0 for a shadow, then the canary's steps from 1. */
  step: number
  /** The challenger's share of the live traffic; of a shadow: of the requests that are copied. */
  weight_percent: number
  /** `running` or `ended` */
  status: string
  why: string | null
  /** The last look, as the release stage's noun file says. */
  look: NullableJson<unknown>
  challenger_id: string
  champion_id: string
  started_at_ms: Ms
  started_calendar_ms: Ms
  ended_at_ms: Ms | null
}

/** What gateways counted of a trial, by the arm that was drawn, also where another one had to answer. */
export interface TrialCountTable {
  trial_id: string
  version_id: string
  requests: number
  failed: number
  interrupted: number
  /** Counts by index of a fine latency bucket. */
  latency: Json<Record<string, number>>
}

export interface TrialLookTable {
  seq: GeneratedAlways<number>
  trial_id: string
  decision: string
  why: string
  figures: Json<unknown>
  at_ms: Ms
  calendar_ms: Ms
}

export interface FreezeTable {
  seq: GeneratedAlways<number>
  id: GeneratedAlways<string>
  model: string
  endpoint: string
  /** `rollback`, `stability`, `alert`, `budget` or `person` */
  kind: string
  /** `active` or `ended` */
  status: string
  why: string
  /** What would end it, for people. */
  unfreezes: string
  /** Of the version that lost, and of the model's configuration then: a change of either ends a freeze after a rollback. */
  code_digest: string | null
  config_digest: string | null
  created_by: string
  created_at_ms: Ms
  created_calendar_ms: Ms
  ended_at_ms: Ms | null
  ended_by: string | null
  ended_why: string | null
}

/** Rows served by a version in one calendar hour, counted over the bins of its baseline profile. */
export interface HistogramTable {
  version_id: string
  origin: string
  bucket_ms: Ms
  rows: number
  counts: Json<unknown>
}

/** By calendar day of the prediction. */
export interface QualityTable {
  version_id: string
  bucket_ms: Ms
  predictions: number
  labelled: number
  loss_sum: number
  loss_squares: number
  label_sum: number
  score_sum: number
}

export interface MonitorStateTable {
  model: string
  monitor: string
  /** A version or a column; empty where the monitor has one value. */
  subject: string
  evaluated_until_ms: Ms
  bad_windows: number
  good_windows: number
  last: NullableJson<unknown>
}

export interface AlertTable {
  seq: GeneratedAlways<number>
  id: GeneratedAlways<string>
  model: string
  endpoint: string
  version_id: string | null
  /** The monitor's or the service level's name. */
  source: string
  subject: string
  severity: string
  status: string
  why: string
  figures: Json<unknown>
  /** `tell`, `retrain`, `rollBack` or `freeze`, as declared. */
  response: string
  /** What was done about it; null: nothing yet. */
  response_taken: string | null
  opened_at_ms: Ms
  opened_calendar_ms: Ms
  resolved_at_ms: Ms | null
  acknowledged_by: string | null
  acknowledged_why: string | null
  /** Epoch. */
  silenced_until_ms: Ms | null
  /** A line for whoever reads it. */
  runbook: string | null
  /** Counts alarms in the order in which they fired; null while the alert is pending. */
  alarm_seq: number | null
  fired_at_ms: Ms | null
  fired_calendar_ms: Ms | null
}

export interface NotificationTable {
  seq: GeneratedAlways<number>
  alert_id: string
  /** `firing` or `resolved` */
  about: string
  target: string
  status: string
  attempts: number
  next_at_ms: Ms
  why: string | null
  created_at_ms: Ms
  sent_at_ms: Ms | null
}

export interface RetirementTable {
  version_id: string
  model: string
  status: string
  policy: string
  why: string
  held_by: Json<string[]>
  proposed_at_ms: Ms
  status_at_ms: Ms
  status_calendar_ms: Ms
  by: string
  /** Of `kept` by a person: calendar; null: for good. */
  kept_until_calendar_ms: ColumnType<Ms | null, Ms | null | undefined, Ms | null>
}

export interface PinTable {
  version_id: string
  caller: string
  first_calendar_ms: Ms
  last_calendar_ms: Ms
  requests: number
}

/** When a version was called, by whomever. */
export interface VersionUseTable {
  version_id: string
  first_calendar_ms: Ms
  last_calendar_ms: Ms
  longest_gap_ms: Ms
  requests: number
}

export interface ReevaluationTable {
  seq: GeneratedAlways<number>
  model: string
  version_id: string
  window_ms: Ms
  rows: number
  mean_loss: number | null
  floor: number | null
  verdict: string
  why: string
  data_passed: boolean
  at_ms: Ms
}

export interface CallerTable {
  name: string
  /** Endpoints that it may call; null: all. */
  endpoints: NullableJson<string[]>
  /** Of client certificates that are this caller. */
  common_names: Json<string[]>
  /** Requests at once, over all endpoints; null: no limit of its own. */
  concurrency: number | null
  created_by: string
  created_at_ms: Ms
  revoked_at_ms: Ms | null
  revoked_by: string | null
  revoked_why: string | null
  requests: ColumnType<number, number | undefined, number>
  /** Of its last request, calendar; null: none yet. */
  last_calendar_ms: ColumnType<Ms | null, Ms | null | undefined, Ms | null>
}

export interface CallerKeyTable {
  /** SHA-256 of the key, hex. */
  digest: string
  caller: string
  /** Its first letters, by which people tell keys apart. */
  hint: string
  created_by: string
  created_at_ms: Ms
  /** Epoch; from then on it is refused. Null: no end. */
  ends_at_ms: Ms | null
}

export interface CallerPinTable {
  caller: string
  endpoint: string
  version_id: string
  pinned_by: string
  pinned_at_ms: Ms
  /** Epoch: it is a promise to people, whose calendar is not rehearsed. */
  expires_at_ms: Ms
  why: string | null
}

export interface GatherMemberTable {
  endpoint: string
  version_id: string
  model: string
  /** `joining`, `member`, `left` or `refused` */
  status: string
  why: string
  /** Copies that it has answered since it last began to join, and those of them that failed. */
  requests: ColumnType<number, number | undefined, number>
  failed: ColumnType<number, number | undefined, number>
  began_at_ms: Ms
  /** When it became a member last; null: it never did. */
  admitted_at_ms: Ms | null
  status_at_ms: Ms
}
