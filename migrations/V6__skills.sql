-- What skills need beside their steps: tenants' sealed values, usage rows, and outputs that lie in the archive.

-- Secrets that plans refer to, and settings that a tenant brought along. Sealed by the Worker: who reads the table learns
-- which there are, and nothing of what they hold.
create table sealed_values (
    tenant_id uuid not null references tenants,
    kind text not null check (kind in ('secret', 'setting')),
    name text not null check (length(name) between 1 and 64),
    sealed text not null check (octet_length(sealed) <= 32768),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    updated_by text not null,
    primary key (tenant_id, kind, name)
);

-- One row per call of an integration, of all attempts: also of failed ones that were billed, and of those whose step was
-- cancelled meanwhile.
create table usage (
    -- The claim that made the call, and the how-manieth of it: settled twice it is one row.
    step_id uuid not null,
    claim_no integer not null,
    n smallint not null,
    tenant_id uuid not null references tenants,
    run_id uuid not null,
    agent_id uuid not null,
    skill text not null,
    integration text not null,
    model text,
    own_key boolean not null,
    requests integer not null,
    input_tokens bigint,
    cached_input_tokens bigint,
    output_tokens bigint,
    bytes_out bigint not null,
    bytes_in bigint not null,
    duration_ms integer not null,
    -- Null is unknown, not free.
    cost_microusd bigint,
    price_version text,
    provider_status smallint,
    code text,
    provider_request_id text,
    at timestamptz not null,
    primary key (step_id, claim_no, n)
);

create index usage_of_tenant on usage (tenant_id, at);

alter table steps
    -- Where the output is, if it is too large for the row: {key, bytes, sha256}. `output` is null then, and
    -- `output_bytes` what reading it back costs.
    add column output_ref jsonb,
    -- The tenant's secrets that its params name.
    add column secret_names jsonb not null default '[]';

alter table effects
    -- Whether an attempt whose answer was lost may have had the effect, and no later one has succeeded.
    add column possible boolean not null default false;

alter table sealed_values enable row level security;
alter table usage enable row level security;

grant select, insert, update, delete on sealed_values to aos_api;
grant select on sealed_values to aos_engine;
create policy tenant on sealed_values to aos_api using (tenant_id = (select current_tenant()))
    with check (tenant_id = (select current_tenant()));
create policy engine on sealed_values for select to aos_engine using (true);

grant select on usage to aos_api;
grant select, insert on usage to aos_engine;
create policy tenant on usage for select to aos_api using (tenant_id = (select current_tenant()));
create policy engine on usage to aos_engine using (true) with check (true);

create or replace function tables_of_tenant() returns text[]
language sql immutable as $$
    select array['idempotency_keys', 'outbox', 'api_keys', 'usage', 'sealed_values', 'agents']
$$;
