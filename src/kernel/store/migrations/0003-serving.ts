import { sql, type Kysely } from 'kysely'

const statements = [
  // Who may call, known by key or by client certificate. Of a key only its digest is here.
  `create table caller (
    name text primary key, endpoints jsonb, common_names jsonb not null, concurrency integer,
    created_by text not null, created_at_ms bigint not null,
    revoked_at_ms bigint, revoked_by text, revoked_why text,
    requests bigint not null default 0, last_calendar_ms bigint)`,
  `create table caller_key (
    digest text primary key, caller text not null references caller (name), hint text not null,
    created_by text not null, created_at_ms bigint not null, ends_at_ms bigint)`,
  `create index caller_key_of on caller_key (caller)`,
  // Callers that are kept on a version.
  `create table caller_pin (
    caller text not null, endpoint text not null, version_id text not null references version (id),
    pinned_by text not null, pinned_at_ms bigint not null, expires_at_ms bigint not null, why text,
    primary key (caller, endpoint))`,
  `create index caller_pin_of on caller_pin (version_id)`,

  // Versions that answer in a gather, that are about to, and that did or could not. Counts are of copies while joining.
  `create table gather_member (
    endpoint text not null, version_id text not null references version (id), model text not null, status text not null,
    why text not null, requests bigint not null default 0, failed bigint not null default 0,
    began_at_ms bigint not null, admitted_at_ms bigint, status_at_ms bigint not null, primary key (endpoint, version_id))`,

  // Replicas that follow the load: why so many, and since when.
  `alter table deployment add column scaled_why text, add column scaled_at_ms bigint`,
]

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db)
}
