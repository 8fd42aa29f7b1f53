-- Who may call, and what they did: API keys, the audit log, tenants as the operator sees them, their limits and their end.

alter table tenants
    -- In place of what the tier allows; null: what the tier allows.
    add column requests_per_minute integer check (requests_per_minute between 1 and 1000000),
    -- Set once, by the operator: from then on the tenant lets nobody in, and its rows go.
    add column erasing_since timestamptz;

create index tenants_erasing on tenants (erasing_since) where erasing_since is not null;

-- These rows reach their tenant through their run or step. Checking it a second time would cost each insert a lock of
-- the tenant's row, and the end of a tenant a scan of the three largest tables.
alter table steps drop constraint steps_tenant_id_fkey;
alter table status_history drop constraint status_history_tenant_id_fkey;
alter table effects drop constraint effects_tenant_id_fkey;

create table api_keys (
    id uuid primary key,
    tenant_id uuid not null references tenants,
    name text not null check (length(name) between 1 and 128),
    -- SHA-256 of the whole key, in hexadecimal. The key has 256 random bits: there is nothing to guess that a slow hash
    -- would have to make expensive, and every request would pay for it.
    hash text not null unique check (hash ~ '^[0-9a-f]{64}$'),
    -- How the key begins, for people who look for it.
    prefix text not null,
    -- A list of permissions.
    scopes jsonb not null check (jsonb_typeof(scopes) = 'array'),
    requests_per_minute integer check (requests_per_minute between 1 and 1000000),
    created_by text not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    -- The key that this one took the place of.
    rotated_from uuid
);

create index api_keys_listed on api_keys (tenant_id, id desc);

create function refuse_wider_api_key() returns trigger language plpgsql as $$
begin
    raise exception 'api key % cannot come back or live longer', old.id using errcode = 'AOS03';
end
$$;

create trigger api_keys_only_end before update on api_keys
    for each row when (
        new.id <> old.id or new.tenant_id <> old.tenant_id or new.hash <> old.hash or new.scopes <> old.scopes
        or (old.revoked_at is not null and new.revoked_at is distinct from old.revoked_at)
        or coalesce(new.expires_at, 'infinity') > coalesce(old.expires_at, 'infinity')
    )
    execute function refuse_wider_api_key();

-- No foreign key: the entry outlives its tenant.
create table audit_log (
    id uuid primary key,
    -- Whose it was; null for strangers, and for a tenant that was refused before it had a row.
    tenant_id uuid,
    tenant_name text,
    at timestamptz not null default clock_timestamp(),
    actor text,
    credential text not null,
    action text not null,
    target text,
    outcome text not null check (outcome in ('done', 'refused')),
    -- Why it was refused.
    code text,
    request_id text not null,
    -- Strangers: this one stands for as many of its kind in its minute, so far.
    sampled_of integer
);

create index audit_log_listed on audit_log (tenant_id, id desc);
-- No tenant is named with nothing: strangers stand under it.
create index audit_log_named on audit_log (coalesce(tenant_name, ''), id desc);
create index audit_log_refused on audit_log (coalesce(tenant_name, ''), at) where outcome = 'refused';
create index audit_log_old on audit_log (at);

-- The operator sees tenants, not what is theirs: a transaction is in one tenant, or is the operator's, never both.
create function is_operator() returns boolean
language sql stable parallel safe as $$
    select coalesce(current_setting('aos.operator', true), '') = 'on'
$$;

create function enter_operator() returns void
language plpgsql as $$
begin
    perform set_config('aos.operator', 'on', true), set_config('aos.tenant', '', true);
end
$$;

-- As before, and now it answers what the request may know about its tenant, so that nobody asks a second time.
drop function enter_tenant(text, uuid);

create function enter_tenant(verified_external_id text, proposed_id uuid) returns jsonb
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    found_tenant tenants;
begin
    select * into found_tenant from tenants t where t.external_id = verified_external_id;
    if found_tenant.id is null then
        insert into tenants (id, external_id) values (proposed_id, verified_external_id)
        on conflict (external_id) do nothing;
        select * into strict found_tenant from tenants t where t.external_id = verified_external_id;
    end if;
    if found_tenant.erasing_since is not null then
        raise exception 'tenant % is being erased', found_tenant.id using errcode = 'AOS02';
    end if;
    perform set_config('aos.tenant', found_tenant.id::text, true), set_config('aos.operator', '', true);
    return jsonb_build_object(
        'id', found_tenant.id, 'tier', found_tenant.tier, 'requests_per_minute', found_tenant.requests_per_minute
    );
end
$$;

-- What the operator sets for a tenant: a JSON merge patch of tier, max_concurrent_steps and requests_per_minute.
create function set_tenant(of_tenant uuid, patch jsonb) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if not is_operator() then
        raise exception 'only the operator sets what a tenant may use' using errcode = '42501';
    end if;
    update tenants t
    set tier = coalesce(patch ->> 'tier', t.tier),
        max_concurrent_steps = coalesce((patch ->> 'max_concurrent_steps')::integer, t.max_concurrent_steps),
        requests_per_minute = case
            when patch ? 'requests_per_minute' then (patch ->> 'requests_per_minute')::integer
            else t.requests_per_minute
        end
    where t.id = of_tenant;
end
$$;

-- What must be found before the tenant is known: the key with this hash, whatever its state, and its tenant. Notes that
-- it was used, at most once a minute, so that a busy key is not a busy row.
create function find_api_key(presented_hash text) returns jsonb
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    k api_keys;
    t tenants;
begin
    select * into k from api_keys a where a.hash = presented_hash;
    if k.id is null then
        return null;
    end if;
    select * into strict t from tenants o where o.id = k.tenant_id;
    if k.revoked_at is null and coalesce(k.expires_at, 'infinity') > statement_timestamp()
        and coalesce(k.last_used_at, '-infinity') < statement_timestamp() - interval '1 minute'
    then
        -- Whoever is just noting it notes it for all.
        perform from api_keys a where a.id = k.id for no key update skip locked;
        if found then
            update api_keys a set last_used_at = statement_timestamp() where a.id = k.id;
        end if;
    end if;
    return jsonb_build_object(
        'id', k.id, 'name', k.name, 'tenant', t.external_id, 'scopes', k.scopes, 'expires_at', k.expires_at,
        'state', case
            when k.revoked_at is not null or t.erasing_since is not null then 'revoked'
            when k.expires_at <= statement_timestamp() then 'expired'
            else 'active'
        end,
        'requests_per_minute', k.requests_per_minute,
        'limits', jsonb_build_object('id', t.id, 'tier', t.tier, 'requests_per_minute', t.requests_per_minute)
    );
end
$$;

-- A privileged action of the transaction's tenant, or of the operator on a tenant: written with it, or not at all.
create function note_done(
    entry_id uuid, of_tenant uuid, actor text, credential text, action text, target text, request_id text
) returns void
language sql volatile as $$
    insert into audit_log (id, tenant_id, tenant_name, actor, credential, action, target, outcome, request_id)
    select entry_id, t.id, t.external_id, actor, credential, action, target, 'done', request_id
    from tenants t
    where t.id = of_tenant
    on conflict (id) do nothing
$$;

-- A refusal: at most 20 a minute of one tenant, however many there are. Strangers are sampled by the caller, who says
-- which one of its kind this is; 100 rows a minute of all of them is what a caller that miscounts can make.
-- Answers whether it was written.
create function note_refusal(
    entry_id uuid, of_tenant_name text, actor text, credential text, action text, target text, code text,
    request_id text, sampled_of integer
) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    most constant integer := case when of_tenant_name is null then 100 else 20 end;
    written integer;
begin
    if of_tenant_name is null and coalesce(sampled_of, 0) < 1 then
        raise exception 'a refusal of a stranger is a sample' using errcode = '22023';
    end if;
    -- Twice: a flood does not queue for the lock, and what passes it has counted what came before.
    for turn in 1 .. 2 loop
        select count(*) into written from (
            select from audit_log a
            where coalesce(a.tenant_name, '') = coalesce(of_tenant_name, '') and a.outcome = 'refused'
                and a.at > statement_timestamp() - interval '1 minute'
            limit most
        ) last_minute;
        if written >= most then
            return false;
        end if;
        if turn = 1 then
            perform pg_advisory_xact_lock(hashtextextended('audit:' || coalesce(of_tenant_name, ''), 0));
        end if;
    end loop;
    insert into audit_log
        (id, tenant_id, tenant_name, actor, credential, action, target, outcome, code, request_id, sampled_of)
    values (
        entry_id, (select t.id from tenants t where t.external_id = of_tenant_name), of_tenant_name,
        left(actor, 256), left(credential, 64), left(action, 256), left(target, 256), 'refused', left(code, 64),
        left(request_id, 128), sampled_of
    )
    on conflict (id) do nothing;
    return true;
end
$$;

revoke all on function
    enter_tenant(text, uuid), enter_operator(), set_tenant(uuid, jsonb), find_api_key(text),
    note_done(uuid, uuid, text, text, text, text, text),
    note_refusal(uuid, text, text, text, text, text, text, text, integer),
    refuse_wider_api_key()
from public;
grant execute on function
    enter_tenant(text, uuid), enter_operator(), is_operator(), set_tenant(uuid, jsonb), find_api_key(text),
    note_done(uuid, uuid, text, text, text, text, text),
    note_refusal(uuid, text, text, text, text, text, text, text, integer)
to aos_api;

-- A tenant reads its own row, the operator all of them. Nobody writes one but by the functions above.
create policy operator on tenants for select to aos_api using ((select is_operator()));

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

-- An answer that only the database can complete is completed in the transaction that took the key.
grant update (answer) on idempotency_keys to aos_api;
