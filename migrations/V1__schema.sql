-- What AOS keeps. Ids are UUIDv7, times are timestamptz, money is bigint micro-dollars.
-- Statuses are text with a check: adding one is a one-line migration, and a row reads well by itself.

-- Version 7 as RFC 9562 section 5.7 lays it out, for rows that the database makes by itself: 48 bits of milliseconds
-- over a random version 4, whose version nibble becomes 7 by setting its two low bits.
create function uuid_v7() returns uuid
language sql volatile parallel safe as $$
    select encode(
        set_bit(set_bit(overlay(
            uuid_send(gen_random_uuid())
            placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
            from 1 for 6
        ), 52, 1), 53, 1), 'hex'
    )::uuid
$$;

create table tenants (
    id uuid primary key,
    -- What the verified identity calls it: an organisation, a user, or a name that the operator gave.
    external_id text not null unique check (length(external_id) between 1 and 128),
    tier text not null default 'free' check (tier in ('free', 'dev', 'pro', 'enterprise')),
    max_concurrent_steps integer not null default 50 check (max_concurrent_steps > 0),
    -- Claims take turns: the tenant served longest ago comes first.
    last_claimed_at timestamptz not null default 'epoch',
    created_at timestamptz not null default now()
);

create table agents (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    name text not null,
    instructions text not null,
    model text,
    -- A list of skill names. What is not named is not allowed.
    allowed_skills jsonb not null,
    max_concurrent_runs integer not null check (max_concurrent_runs > 0),
    max_runs_per_minute integer not null check (max_runs_per_minute > 0),
    labels jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz
);

create unique index agents_name on agents (tenant_id, name) where deleted_at is null;
create index agents_listed on agents (tenant_id, id desc) where deleted_at is null;

create table runs (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    agent_id uuid not null references agents,
    status text not null check (
        status in ('queued', 'planning', 'running', 'waiting', 'succeeded', 'failed', 'cancelled')
    ),
    plan jsonb not null,
    plan_hash text not null,
    input jsonb not null,
    labels jsonb not null,
    -- Why the run failed, or is failing while its last steps end: {step, category, code, message}.
    error jsonb,
    created_at timestamptz not null,
    started_at timestamptz,
    ended_at timestamptz
);

create index runs_listed on runs (tenant_id, id desc);
create index runs_listed_by_status on runs (tenant_id, status, id desc);
create index runs_listed_by_agent on runs (agent_id, id desc);
create index runs_of_agent on runs (agent_id, created_at);
create index runs_open on runs (agent_id) where ended_at is null;

create table steps (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    run_id uuid not null references runs,
    -- The place in the plan, from 0, and the name it has there.
    idx smallint not null,
    key text not null,
    skill text not null,
    params jsonb not null,
    -- Places of the steps that must end first, and of those whose output the params or the condition name.
    needs smallint[] not null,
    refs smallint[] not null,
    is_sink boolean not null,
    condition text,
    on_error text not null check (on_error in ('abort', 'continue')),
    max_attempts smallint not null,
    backoff_ms integer not null,
    timeout_ms integer not null,
    effect_class text not null check (effect_class in ('pure', 'read', 'repeatable', 'once')),
    -- Whether a call leaves the Worker, and so takes one of the invocation's lanes.
    outside boolean not null,
    status text not null check (
        status in ('pending', 'queued', 'running', 'waiting', 'succeeded', 'failed', 'skipped', 'cancelled')
    ),
    -- A queued step may be claimed from due_at on; if nobody has by ring_at, cron rings for it.
    due_at timestamptz,
    ring_at timestamptz,
    -- The turn of the engine that moved the step last. Sent again, that turn finds its rows by it.
    turn_id uuid,
    -- The fence: raised by every claim, named by every completion.
    claim_no integer not null default 0,
    lease_until timestamptz,
    -- Executions that began; claims that ended without a word.
    attempt smallint not null default 0,
    claims_lost smallint not null default 0,
    output jsonb,
    output_bytes integer not null default 0,
    error jsonb,
    -- The rest of the outcome: effects, usage, skill_version, provider_request_id.
    outcome jsonb,
    cost_microusd bigint,
    duration_ms integer,
    started_at timestamptz,
    ended_at timestamptz,
    unique (run_id, idx)
);

-- Everything that looks for work uses an index that holds only the rows there is work for.
create index steps_due on steps (tenant_id, outside, due_at, id) where status = 'queued';
create index steps_to_ring on steps (ring_at) where status = 'queued';
create index steps_running on steps (tenant_id) where status = 'running';
create index steps_leased on steps (lease_until) where status = 'running';
create index steps_of_turn on steps (turn_id) where status in ('queued', 'running');

-- Every status change, numbered per run without gaps. Written by triggers only.
create table status_history (
    run_id uuid not null references runs,
    seq integer not null,
    tenant_id uuid not null references tenants,
    entity text not null check (entity in ('run', 'step')),
    entity_id uuid not null,
    step_key text,
    from_status text,
    to_status text not null,
    attempt smallint,
    error jsonb,
    at timestamptz not null default clock_timestamp(),
    primary key (run_id, seq)
);

-- Outside effects: begun by the claim that will start them, finalised by the completion.
-- Begun, and its executor lost: nobody knows whether it happened.
create table effects (
    step_id uuid primary key references steps,
    tenant_id uuid not null references tenants,
    run_id uuid not null references runs,
    claim_no integer not null,
    state text not null check (state in ('begun', 'finalised', 'unknown')),
    effects jsonb,
    begun_at timestamptz not null,
    finalised_at timestamptz
);

create index effects_of_run on effects (run_id);
create index effects_begun on effects (begun_at) where state = 'begun';

-- Messages committed with the change that caused them, delivered later at least once, then deleted.
create table outbox (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    topic text not null,
    payload jsonb not null,
    attempts smallint not null default 0,
    -- When to try (again); null: given up, kept for a person to look at.
    due_at timestamptz,
    turn_id uuid,
    last_error text,
    created_at timestamptz not null default now()
);

create index outbox_due on outbox (due_at) where due_at is not null;
create index outbox_taken on outbox (turn_id) where turn_id is not null;

-- First answers of requests that carried an Idempotency-Key.
create table idempotency_keys (
    tenant_id uuid not null references tenants,
    route text not null,
    key text not null,
    body_hash text not null,
    status smallint not null,
    answer jsonb not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, route, key)
);

create index idempotency_keys_old on idempotency_keys (created_at);
