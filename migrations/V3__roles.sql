-- Two roles, neither owning anything. Roles belong to the cluster, not to the database: another database of it may
-- have made them already.
do $$
begin
    if not exists (select from pg_roles where rolname = 'aos_api') then
        create role aos_api nologin;
    end if;
exception when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
    if not exists (select from pg_roles where rolname = 'aos_engine') then
        create role aos_engine nologin;
    end if;
exception when duplicate_object or unique_violation then null;
end
$$;

revoke all on schema public from public;
grant usage on schema public to aos_api, aos_engine;

-- The API sees one tenant per transaction, the one it entered.
create function current_tenant() returns uuid
language sql stable parallel safe as $$
    select nullif(current_setting('aos.tenant', true), '')::uuid
$$;

-- What must be found before the tenant is known. The first verified request of a new tenant creates it, under the id
-- that the caller proposes. Everything after it in the same transaction is seen as that tenant.
create function enter_tenant(verified_external_id text, proposed_id uuid) returns uuid
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    found_id uuid;
begin
    select t.id into found_id from tenants t where t.external_id = verified_external_id;
    if found_id is null then
        insert into tenants (id, external_id) values (proposed_id, verified_external_id)
        on conflict (external_id) do nothing;
        select t.id into strict found_id from tenants t where t.external_id = verified_external_id;
    end if;
    perform set_config('aos.tenant', found_id::text, true);
    return found_id;
end
$$;

revoke all on function enter_tenant(text, uuid) from public;
revoke all on function record_run_changes() from public;
revoke all on function record_step_changes() from public;
grant execute on function enter_tenant(text, uuid) to aos_api;
grant execute on function current_tenant() to aos_api, aos_engine;

grant select on tenants, agents, runs, steps, status_history, effects, idempotency_keys to aos_api;
grant insert, update on agents to aos_api;
grant insert on runs, steps, outbox to aos_api;
-- Cancelling is the one change that the API makes to a run.
grant update (status, ended_at) on runs to aos_api;
grant update (status, ended_at) on steps to aos_api;
grant insert, delete on idempotency_keys to aos_api;

grant select on tenants, agents, runs, steps, status_history, effects, outbox, idempotency_keys to aos_engine;
grant update (last_claimed_at) on tenants to aos_engine;
grant update on runs, steps to aos_engine;
grant insert, update, delete on effects to aos_engine;
grant insert, update, delete on outbox to aos_engine;
grant delete on idempotency_keys to aos_engine;

do $$
declare
    name text;
begin
    foreach name in array array['agents', 'runs', 'steps', 'status_history', 'effects', 'outbox', 'idempotency_keys'] loop
        execute format('alter table %I enable row level security', name);
        execute format(
            'create policy tenant on %I to aos_api using (tenant_id = (select current_tenant())) '
            'with check (tenant_id = (select current_tenant()))', name);
        execute format('create policy engine on %I to aos_engine using (true) with check (true)', name);
    end loop;
end
$$;

alter table tenants enable row level security;
create policy tenant on tenants to aos_api using (id = (select current_tenant()));
create policy engine on tenants to aos_engine using (true) with check (true);
