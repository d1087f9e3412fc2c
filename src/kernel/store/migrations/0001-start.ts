import { sql, type Kysely } from 'kysely'

const tables = [
  `create table revision (
    id integer generated always as identity primary key,
    digest text not null, source text not null, source_path text not null, project jsonb not null,
    applied_by text not null, applied_at_ms bigint not null)`,
  `create table model (name text primary key, status text not null, updated_at_ms bigint not null)`,
  `create table trigger_state (
    model text not null, trigger_name text not null, seen jsonb not null, last_fired_at_ms bigint, why_not text,
    primary key (model, trigger_name))`,
  `create table trigger_firing (
    model text not null, trigger_name text not null, firing_key text not null, run_id text not null,
    at_ms bigint not null, calendar_ms bigint not null, why text not null,
    primary key (model, trigger_name, firing_key))`,
  `create table run (
    seq bigint generated always as identity, id text generated always as ('run-' || seq::text) stored primary key,
    model text not null, revision_id integer not null references revision (id), status text not null, why text,
    trigger_kind text not null, trigger_why text not null, as_of_ms bigint not null, params jsonb not null,
    seed bigint not null, code_digest text, cancel_why text,
    created_at_ms bigint not null, started_at_ms bigint, ended_at_ms bigint)`,
  `create index run_open on run (status) where status in ('queued', 'running')`,
  `create table step (
    run_id text not null references run (id), name text not null, position integer not null, status text not null,
    spec jsonb not null, why text, output_digest text, model_digest text,
    retry_at_ms bigint, started_at_ms bigint, ended_at_ms bigint,
    primary key (run_id, name))`,
  `create table attempt (
    run_id text not null, step text not null, number integer not null, token text not null unique,
    status text not null, why text, exit_code integer, dir text not null, inputs jsonb, environment jsonb,
    started_at_ms bigint not null, ended_at_ms bigint,
    primary key (run_id, step, number), foreign key (run_id, step) references step (run_id, name))`,
  `create table version (
    seq bigint generated always as identity, id text primary key, model text not null, number integer not null,
    status text not null, why text, run_id text references run (id), revision_id integer not null references revision (id),
    model_digest text not null, size_bytes bigint not null, signature jsonb, score_output jsonb,
    lineage jsonb not null, reported_metrics jsonb, approval jsonb,
    disposition text, disposition_why text, profile_digest text, golden_digest text,
    trained_at_ms bigint not null, created_at_ms bigint not null, created_calendar_ms bigint not null,
    unique (model, number))`,
  `create unique index version_of_run on version (run_id) where run_id is not null`,
  `create table alias (
    model text not null, alias text not null, version_id text not null references version (id),
    primary key (model, alias))`,
  `create table alias_history (
    seq bigint generated always as identity primary key, model text not null, alias text not null, version_id text,
    cause text not null, at_ms bigint not null, calendar_ms bigint not null)`,
  `create index alias_history_of on alias_history (model, alias, at_ms)`,
  `create table evaluation (
    seq bigint generated always as identity, id text generated always as ('evaluation-' || seq::text) stored primary key,
    version_id text not null references version (id), champion_id text references version (id), status text not null, why text,
    attempts integer not null, figures jsonb, losses_digest text, holdout_digest text,
    created_at_ms bigint not null, ended_at_ms bigint)`,
  `create index evaluation_of on evaluation (version_id)`,
  `create table gate (
    seq bigint generated always as identity, id text generated always as ('gate-' || seq::text) stored primary key,
    version_id text not null references version (id), evaluation_id text references evaluation (id),
    verdict text not null, why text not null, checks jsonb not null, proven_better boolean not null,
    decided_at_ms bigint not null)`,
  `create index gate_of on gate (version_id)`,
  `create table deployment (
    seq bigint generated always as identity, id text generated always as ('deployment-' || seq::text) stored primary key,
    endpoint text not null, model text not null, version_id text not null references version (id), status text not null,
    why text, replicas_wanted integer not null, discoverable boolean not null,
    created_at_ms bigint not null, ended_at_ms bigint)`,
  `create table release (
    seq bigint generated always as identity, id text generated always as ('release-' || seq::text) stored primary key,
    kind text not null, endpoint text not null, model text not null, version_id text not null references version (id),
    previous_id text references version (id), deployment_id text references deployment (id), status text not null, why text,
    cause text not null, requested_by text not null, created_at_ms bigint not null, status_at_ms bigint not null,
    switched_at_ms bigint, first_answer_at_ms bigint, ended_at_ms bigint)`,
  `create index release_of on release (endpoint, status)`,
  `create table replica (
    seq bigint generated always as identity, id text generated always as ('replica-' || seq::text) stored primary key,
    deployment_id text not null references deployment (id), token text not null, status text not null, why text,
    created_at_ms bigint not null, ended_at_ms bigint)`,
  `create index replica_open on replica (deployment_id) where status <> 'gone'`,
  `create table route (endpoint text primary key, model text not null, members jsonb not null, updated_at_ms bigint not null)`,
  `create table traffic (
    minute_ms bigint not null, endpoint text not null, version_id text not null,
    requests bigint not null, failed bigint not null, interrupted bigint not null, latency_counts jsonb not null,
    primary key (endpoint, version_id, minute_ms))`,
  `create table sli (
    seq bigint generated always as identity primary key, phase text not null, indicator text not null, model text not null,
    value double precision not null, good boolean not null, subject text not null, at_ms bigint not null)`,
  `create index sli_of on sli (phase, indicator, at_ms)`,
  `create unique index sli_once on sli (phase, indicator, subject)`,
  `create table event (
    id bigint generated always as identity primary key, entity text not null, entity_id text not null,
    from_status text, to_status text not null, cause text not null, at_ms bigint not null, calendar_ms bigint not null,
    detail jsonb)`,
  `create index event_of on event (entity, entity_id)`,
  `create table setting (key text primary key, value jsonb not null)`,
]

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of tables) await sql.raw(statement).execute(db)
}
