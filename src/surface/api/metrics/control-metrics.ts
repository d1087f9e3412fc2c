import { counter, gauge, histogram } from '../../../kernel/metrics/metric.ts'

const OF_DEPLOYMENT = ['endpoint', 'model', 'version', 'deployment'] as const
const OF_PROCESS = ['process', 'role'] as const

/** All that the control plane tells, in the order of its answer; process metrics follow. */
export const controlMetrics = {
  runsOpen: gauge('millrace_runs_open', { help: 'Runs that are queued or running.', labels: ['model', 'status'] }),
  runs: counter('millrace_runs_total', {
    help: 'Runs that have ended: succeeded, failed, cancelled.',
    labels: ['model', 'outcome'],
  }),
  firings: counter('millrace_trigger_firings_total', {
    help: 'Times that a trigger has asked for a run.',
    labels: ['model', 'trigger'],
  }),
  versions: gauge('millrace_versions', {
    help: 'Versions by where they stand with their evaluation and gate.',
    labels: ['model', 'status'],
  }),
  waiting: gauge('millrace_versions_awaiting_approval', {
    help: 'Versions that wait for a person.',
    labels: ['model'],
  }),
  champion: gauge('millrace_model_champion_version', {
    help: 'Number of the version that is live; it falls with a rollback.',
    labels: ['model'],
  }),
  releasesOpen: gauge('millrace_releases_open', {
    help: 'Releases that are under way.',
    labels: ['model', 'status'],
  }),
  releases: counter('millrace_releases_total', {
    help: 'Releases that have ended: released, rolled-back, failed, superseded, cancelled.',
    labels: ['model', 'kind', 'outcome'],
  }),
  freezes: gauge('millrace_release_freezes', {
    help: 'Freezes of automatic release, by what asked for them.',
    labels: ['model', 'kind'],
  }),
  wanted: gauge('millrace_replicas_wanted', {
    help: 'Replicas that a deployment is to have now; they follow the load where a range is declared.',
    labels: OF_DEPLOYMENT,
  }),
  ready: gauge('millrace_replicas_ready', {
    help: 'Of those, the ones that say they are ready.',
    labels: OF_DEPLOYMENT,
  }),
  gateways: gauge('millrace_gateways_reporting', { help: 'Gateways that were heard in the last 2 seconds.' }),
  alerts: gauge('millrace_alerts_firing', {
    help: 'Alerts that fire now. Source: a monitor, or service-level/NAME.',
    labels: ['model', 'source', 'severity'],
  }),
  notifications: gauge('millrace_notifications_waiting', {
    help: 'Messages about alerts that were not delivered yet.',
  }),
  monitorLag: gauge('millrace_monitor_lag_seconds', {
    help: 'Since the end of the last window that was judged, in calendar time. Windows wait for data, or for labels.',
    labels: ['model', 'of'],
  }),
  objective: gauge('millrace_slo_objective_ratio', {
    help: 'Share of events that is promised to be good.',
    labels: ['model', 'level'],
  }),
  budgetLeft: gauge('millrace_slo_budget_left_ratio', {
    help: 'What is left of the error budget: 1 untouched, 0 or less spent. Missing: nothing was measured.',
    labels: ['model', 'level'],
  }),
  burnRate: gauge('millrace_slo_burn_rate', {
    help: 'How many times as fast as it allows the budget was used over the window.',
    labels: ['model', 'level', 'window'],
  }),
  lakePredictions: gauge('millrace_lake_predictions', { help: 'Predictions that are in the lake.' }),
  lakeWaiting: gauge('millrace_lake_waiting_records', { help: 'Predictions on disk that are not in the lake yet.' }),
  lakeLag: gauge('millrace_lake_lag_seconds', { help: 'Age of the oldest prediction that is not in the lake.' }),
  lakeAgrees: gauge('millrace_lake_agrees', {
    help: '1 where what was answered is what was logged and is in the lake.',
  }),
  diskFree: gauge('millrace_disk_free_bytes', { help: 'Free space where the data is.' }),
  diskMin: gauge('millrace_disk_min_free_bytes', { help: 'With less nothing new is started.' }),
  loops: histogram('millrace_control_loop_duration_seconds', {
    help: 'One look of a control loop. What takes long holds up what waits for it.',
    labels: ['loop'],
  }),
  loopFailures: counter('millrace_control_loop_failures_total', {
    help: 'Looks that failed; they are repeated, more and more slowly.',
    labels: ['loop'],
  }),
  up: gauge('millrace_process_up', {
    help: 'Of each process that was started for this installation: 1 while it runs.',
    labels: OF_PROCESS,
  }),
  started: gauge('millrace_process_start_time_seconds', {
    help: 'When it was started last, in seconds since 1970. Each change is a restart.',
    labels: OF_PROCESS,
  }),
} as const
