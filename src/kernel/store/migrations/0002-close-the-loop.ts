import { sql, type Kysely } from 'kysely'

const statements = [
  // Triggers: pausing, and when a cron is due next (calendar).
  `alter table trigger_state add column kind text, add column paused_at_ms bigint, add column paused_why text,
    add column due_calendar_ms bigint, add column resumed jsonb`,
  `create index trigger_firing_of on trigger_firing (model, calendar_ms)`,

  // Trials: a shadow or one step of a canary. Its id marks the requests that took part.
  `create table trial (
    seq bigint generated always as identity, id text generated always as ('trial-' || seq::text) stored primary key,
    release_id text not null references release (id), endpoint text not null, kind text not null, step integer not null,
    weight_percent double precision not null, status text not null, why text, look jsonb,
    challenger_id text not null references version (id), champion_id text not null references version (id),
    started_at_ms bigint not null, started_calendar_ms bigint not null, ended_at_ms bigint,
    unique (release_id, kind, step))`,
  `create index trial_open on trial (endpoint) where status = 'running'`,
  `create table trial_count (
    trial_id text not null references trial (id), version_id text not null,
    requests bigint not null, failed bigint not null, interrupted bigint not null, latency jsonb not null,
    primary key (trial_id, version_id))`,
  `create table trial_look (
    seq bigint generated always as identity primary key, trial_id text not null references trial (id),
    decision text not null, why text not null, figures jsonb not null, at_ms bigint not null, calendar_ms bigint not null)`,
  `create index trial_look_of on trial_look (trial_id, seq)`,

  // Routes: who gets copies, which trial the split belongs to, and whether the endpoint was taken out by a person.
  `alter table route add column mirrors jsonb not null default '[]', add column trial_id text,
    add column disabled jsonb`,

  // While one is active, nothing is released on the endpoint by itself.
  `create table "freeze" (
    seq bigint generated always as identity, id text generated always as ('freeze-' || seq::text) stored primary key,
    model text not null, endpoint text not null, kind text not null, status text not null, why text not null, unfreezes text not null,
    code_digest text, config_digest text, created_by text not null, created_at_ms bigint not null, created_calendar_ms bigint not null,
    ended_at_ms bigint, ended_by text, ended_why text)`,
  `create unique index freeze_active on "freeze" (model, kind) where status = 'active'`,

  // What was served, counted by calendar hour, and what became of it once labels came, by calendar day.
  `create table histogram (
    version_id text not null, origin text not null, bucket_ms bigint not null, rows bigint not null, counts jsonb not null,
    primary key (version_id, origin, bucket_ms))`,
  `create index histogram_at on histogram (bucket_ms)`,
  `create table quality (
    version_id text not null, bucket_ms bigint not null, predictions bigint not null, labelled bigint not null,
    loss_sum double precision not null, loss_squares double precision not null,
    label_sum double precision not null, score_sum double precision not null,
    primary key (version_id, bucket_ms))`,

  // Monitors, alerts and what is sent about them.
  `create table monitor_state (
    model text not null, monitor text not null, subject text not null, evaluated_until_ms bigint not null,
    bad_windows integer not null, good_windows integer not null, last jsonb, primary key (model, monitor, subject))`,
  `create table alert (
    seq bigint generated always as identity, id text generated always as ('alert-' || seq::text) stored primary key,
    model text not null, endpoint text not null, version_id text, source text not null, subject text not null,
    severity text not null, status text not null, why text not null, figures jsonb not null, response text not null,
    response_taken text, opened_at_ms bigint not null, opened_calendar_ms bigint not null, resolved_at_ms bigint,
    acknowledged_by text, acknowledged_why text, silenced_until_ms bigint,
    runbook text, alarm_seq bigint, fired_at_ms bigint, fired_calendar_ms bigint)`,
  `create unique index alert_open on alert (model, source, subject) where status <> 'resolved'`,
  `create table notification (
    seq bigint generated always as identity primary key, alert_id text not null references alert (id), about text not null,
    target text not null, status text not null, attempts integer not null, next_at_ms bigint not null, why text,
    created_at_ms bigint not null, sent_at_ms bigint, unique (alert_id, about, target))`,

  // Retirement: a version without a row here is kept.
  `create table retirement (
    version_id text primary key references version (id), model text not null, status text not null, policy text not null, why text not null,
    held_by jsonb not null, proposed_at_ms bigint not null, status_at_ms bigint not null, status_calendar_ms bigint not null, by text not null,
    kept_until_calendar_ms bigint)`,
  // Who asked for a version by its number, last (calendar).
  `create table pin (
    version_id text not null, caller text not null, first_calendar_ms bigint not null, last_calendar_ms bigint not null,
    requests bigint not null, primary key (version_id, caller))`,
  // When a version was called, by whomever (calendar).
  `create table version_use (
    version_id text primary key, first_calendar_ms bigint not null, last_calendar_ms bigint not null,
    longest_gap_ms bigint not null, requests bigint not null)`,
  // The production versions measured again on the newest labelled window.
  `create table reevaluation (
    seq bigint generated always as identity primary key, model text not null, version_id text not null, window_ms bigint not null,
    rows bigint not null, mean_loss double precision, floor double precision, verdict text not null, why text not null,
    data_passed boolean not null, at_ms bigint not null, unique (version_id, window_ms))`,

  `alter table sli add column calendar_ms bigint`,
]

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
