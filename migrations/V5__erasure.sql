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
create function erase_rows(doomed uuid, most_runs integer, most_steps integer) returns boolean
language plpgsql set search_path = public, pg_temp as $$
declare
    chosen uuid[];
    name text;
begin
    perform set_config('aos.erasing', doomed::text, true);
    select array_agg(sized.id) into chosen from (
        select few.id, sum(size.n) over (order by few.id) - size.n as before
        from (
            select r.id from runs r where r.tenant_id = doomed order by r.id desc limit most_runs
        ) few
        cross join lateral (select count(*) as n from steps s where s.run_id = few.id) size
    ) sized
    where sized.before < most_steps;

    delete from effects e where e.run_id = any (chosen);
    delete from status_history h where h.run_id = any (chosen);
    delete from steps s where s.run_id = any (chosen);
    delete from runs r where r.id = any (chosen);
    if exists (select from runs r where r.tenant_id = doomed) then
        perform set_config('aos.erasing', '', true);
        return false;
    end if;

    foreach name in array tables_of_tenant() loop
        execute format('delete from %I where tenant_id = $1', name) using doomed;
    end loop;
    delete from tenants t where t.id = doomed;
    perform set_config('aos.erasing', '', true);
    return true;
end
$$;

-- The operator's request: from now on nobody gets in, no key opens, no step starts; then the first part of the rows.
-- May be repeated, also when nothing is left: the audit log knows that there was such a tenant.
--
-- `is_operator()` keeps an operation that forgot who it works for from erasing anything. Whoever can execute SQL of his
-- own as aos_api passes it, as he passes `enter_tenant`: against him the Worker has no SQL that a request can shape.
create function erase_tenant(doomed uuid, most_runs integer, most_steps integer) returns jsonb
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
    select * into t from tenants o where o.id = doomed for update;
    if t.id is null then
        select * into entry from audit_log a
        where a.tenant_id = doomed and a.action = 'tenants.erase' and a.outcome = 'done'
        order by a.id desc limit 1;
        return jsonb_build_object('name', entry.tenant_name, 'erased', true);
    end if;
    update tenants o set erasing_since = coalesce(o.erasing_since, statement_timestamp()) where o.id = doomed;
    delete from api_keys k where k.tenant_id = doomed;

    perform from runs r where r.tenant_id = doomed and r.ended_at is null order by r.id for no key update;
    update steps s set status = 'cancelled', ended_at = statement_timestamp()
    from runs r
    where r.tenant_id = doomed and r.ended_at is null and s.run_id = r.id
        and s.status in ('pending', 'queued', 'running', 'waiting');
    update runs r set status = 'cancelled', ended_at = statement_timestamp()
    where r.tenant_id = doomed and r.ended_at is null;

    gone := erase_rows(doomed, most_runs, most_steps);
    return jsonb_build_object('name', t.external_id, 'erased', gone);
end
$$;

-- The cron's part: goes on with the tenant that has waited longest. Answers whether there was one.
create function go_on_erasing(most_runs integer, most_steps integer) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    doomed uuid;
begin
    select o.id into doomed from tenants o
    where o.erasing_since is not null
    order by o.erasing_since limit 1
    for update skip locked;
    if doomed is null then
        return false;
    end if;
    perform erase_rows(doomed, most_runs, most_steps);
    return true;
end
$$;

revoke all on function
    tables_of_tenant(), erase_rows(uuid, integer, integer), erase_tenant(uuid, integer, integer),
    go_on_erasing(integer, integer)
from public;
grant execute on function erase_tenant(uuid, integer, integer) to aos_api;
grant execute on function go_on_erasing(integer, integer) to aos_engine;
