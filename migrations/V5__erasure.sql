-- The end of a tenant: the one way in which what has ended is deleted. Bounded, so that a large tenant goes in many
-- short transactions: the operator's request begins, the minute cron goes on.

-- Deleting what has ended takes the right to delete, which only the owner has, and so the functions below; and a
-- transaction that says whose rows it erases, so that the owner's own mistakes stop here.
create or replace function refuse_change_of_ended() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('aos.erasing', true) = old.tenant_id::text then
        return old;
    end if;
    raise exception '% % has ended (%) and cannot change', tg_argv[0], old.id, old.status
        using errcode = 'AOS01';
end
$$;

-- Tables that hold rows of a tenant beside those of its runs, in an order in which they can be deleted. A migration that
-- adds such a table replaces this function.
create function tables_of_tenant() returns text[]
language sql immutable as $$
    select array['idempotency_keys', 'outbox', 'api_keys', 'agents']
$$;

-- Deletes up to so many runs with all that is theirs, and no more than about `most_steps` steps; with the last of
-- them everything else. Answers whether the tenant is gone. The caller holds the tenant's row lock.
create function erase_rows(target uuid, most_runs integer, most_steps integer) returns boolean
language plpgsql set search_path = public, pg_temp as $$
declare
    chosen uuid[];
    name text;
begin
    perform set_config('aos.erasing', target::text, true);
    select array_agg(sized.id) into chosen from (
        select few.id, sum(size.n) over (order by few.id) - size.n as before
        from (
            select r.id from runs r where r.tenant_id = target order by r.id desc limit most_runs
        ) few
        cross join lateral (select count(*) as n from steps s where s.run_id = few.id) size
    ) sized
    where sized.before < most_steps;

    delete from effects e where e.run_id = any (chosen);
    delete from status_history h where h.run_id = any (chosen);
    delete from steps s where s.run_id = any (chosen);
    delete from runs r where r.id = any (chosen);
    if exists (select from runs r where r.tenant_id = target) then
        perform set_config('aos.erasing', '', true);
        return false;
    end if;

    foreach name in array tables_of_tenant() loop
        execute format('delete from %I where tenant_id = $1', name) using target;
    end loop;
    delete from tenants t where t.id = target;
    perform set_config('aos.erasing', '', true);
    return true;
end
$$;

-- The operator's request: from now on nobody gets in, no key opens, no step starts; then the first part of the rows.
-- May be repeated, also when nothing is left: the audit log knows that there was such a tenant.
--
-- `is_operator()` keeps an operation that forgot who it works for from erasing anything. Whoever can execute SQL of his
-- own as aos_api passes it, as he passes `enter_tenant`: against him the Worker has no SQL that a request can shape.
create function erase_tenant(target uuid, most_runs integer, most_steps integer) returns jsonb
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    t tenants;
    gone boolean;
    entry audit_log;
begin
    if not is_operator() then
        raise exception 'only the operator erases a tenant' using errcode = '42501';
    end if;
    -- Waits for requests that are writing into the tenant; those that come later wait for this one.
    select * into t from tenants o where o.id = target for update;
    if t.id is null then
        select * into entry from audit_log a
        where a.tenant_id = target and a.action = 'tenants.erase' and a.outcome = 'done'
        order by a.id desc limit 1;
        return jsonb_build_object('name', entry.tenant_name, 'erased', true);
    end if;
    update tenants o set erasing_since = coalesce(o.erasing_since, statement_timestamp()) where o.id = target;
    delete from api_keys k where k.tenant_id = target;

    perform from runs r where r.tenant_id = target and r.ended_at is null order by r.id for no key update;
    update steps s set status = 'cancelled', ended_at = statement_timestamp()
    from runs r
    where r.tenant_id = target and r.ended_at is null and s.run_id = r.id
        and s.status in ('pending', 'queued', 'running', 'waiting');
    update runs r set status = 'cancelled', ended_at = statement_timestamp()
    where r.tenant_id = target and r.ended_at is null;

    gone := erase_rows(target, most_runs, most_steps);
    return jsonb_build_object('name', t.external_id, 'erased', gone);
end
$$;

-- The cron's part: goes on with the tenant that has waited longest. Answers whether there was one.
create function go_on_erasing(most_runs integer, most_steps integer) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    target uuid;
begin
    select o.id into target from tenants o
    where o.erasing_since is not null
    order by o.erasing_since limit 1
    for update skip locked;
    if target is null then
        return false;
    end if;
    perform erase_rows(target, most_runs, most_steps);
    return true;
end
$$;

revoke all on function
    enter_tenant(text, uuid), enter_operator(), find_api_key(text),
    note_done(uuid, uuid, text, text, text, text, text),
    note_refusal(uuid, text, text, text, text, text, text, text, integer),
    erase_rows(uuid, integer, integer), erase_tenant(uuid, integer, integer), go_on_erasing(integer, integer),
    refuse_wider_api_key(), tables_of_tenant()
from public;

grant execute on function
    enter_tenant(text, uuid), enter_operator(), is_operator(), find_api_key(text),
    note_done(uuid, uuid, text, text, text, text, text),
    note_refusal(uuid, text, text, text, text, text, text, text, integer),
    erase_tenant(uuid, integer, integer)
to aos_api;
grant execute on function go_on_erasing(integer, integer) to aos_engine;

-- A tenant reads its own row; only the operator changes one.
drop policy tenant on tenants;
create policy tenant on tenants for select to aos_api using (id = (select current_tenant()));
create policy operator on tenants to aos_api using ((select is_operator())) with check ((select is_operator()));
grant update (tier, max_concurrent_steps, requests_per_minute) on tenants to aos_api;

-- The API never reads a hash, and of a key that exists it changes nothing but its end.
grant select (
    id, tenant_id, name, prefix, scopes, requests_per_minute, created_by, created_at, expires_at, last_used_at,
    revoked_at, rotated_from
) on api_keys to aos_api;
grant insert on api_keys to aos_api;
grant update (expires_at, revoked_at) on api_keys to aos_api;
alter table api_keys enable row level security;
create policy tenant on api_keys to aos_api
    using (tenant_id = (select current_tenant())) with check (tenant_id = (select current_tenant()));

-- What is in the audit log stays as it is; the engine lets go of what is old, and cannot touch anything younger.
grant select, insert on audit_log to aos_api;
grant select (id, at), delete on audit_log to aos_engine;
alter table audit_log enable row level security;
create policy tenant on audit_log for select to aos_api using (tenant_id = (select current_tenant()));
create policy operator on audit_log for select to aos_api using ((select is_operator()));
create policy done on audit_log for insert to aos_api with check (
    outcome = 'done' and (tenant_id = (select current_tenant()) or (select is_operator()))
);
create policy engine on audit_log to aos_engine using (at < statement_timestamp() - interval '90 days');
