-- name: turn.pick
-- Chooses what this turn may touch: the runs it settles, and the runs of the due steps whose turn it is.
-- set_config(…, true) keeps the choice for the statements that follow, as long as the transaction.
--
-- $1 the turn · $2 step ids that this turn settles · $3 lanes for outside calls · $4 places for pure steps
-- $5 the longest timeout that may still start, in ms
with recursive
settled as (
    select distinct s.tenant_id, s.run_id
    from steps s
    where s.id in (select ids.value::uuid from jsonb_array_elements_text($2::jsonb) ids)
),
-- A loose index scan: one probe per tenant that has queued steps, however many it has.
queued_tenant (id) as (
    (select s.tenant_id from steps s where s.status = 'queued' order by s.tenant_id limit 1)
    union all
    select (
        select s.tenant_id from steps s
        where s.status = 'queued' and s.tenant_id > q.id
        order by s.tenant_id limit 1
    )
    from queued_tenant q
    where q.id is not null
),
free as (
    select t.id, t.last_claimed_at, t.max_concurrent_steps - running.n as places
    from queued_tenant q
    join tenants t on t.id = q.id and t.erasing_since is null
    cross join lateral (
        select count(*) as n from (
            select from steps s
            where s.status = 'running' and s.tenant_id = t.id
                -- What this turn settles leaves its place to what it claims.
                and s.id <> all (array(select ids.value::uuid from jsonb_array_elements_text($2::jsonb) ids))
            limit t.max_concurrent_steps
        ) few
    ) running
    -- A turn sent again has its rows already.
    where not exists (select from steps s where s.turn_id = $1::uuid and s.status = 'running')
),
due as (
    select f.id as tenant_id, f.last_claimed_at, f.places, s.run_id, s.outside,
        row_number() over (partition by f.id order by s.due_at, s.id) as tenant_no
    from free f
    cross join lateral (
        (
            select s.id, s.run_id, s.outside, s.due_at from steps s
            where s.status = 'queued' and s.tenant_id = f.id and s.outside
                and s.due_at <= statement_timestamp() and s.timeout_ms <= $5::integer
            order by s.due_at, s.id limit $3::integer
        )
        union all
        (
            select s.id, s.run_id, s.outside, s.due_at from steps s
            where s.status = 'queued' and s.tenant_id = f.id and not s.outside
                and s.due_at <= statement_timestamp() and s.timeout_ms <= $5::integer
            order by s.due_at, s.id limit $4::integer
        )
    ) s
    where f.places > 0
),
in_turn as (
    select d.tenant_id, d.run_id,
        row_number() over (partition by d.outside order by d.tenant_no, d.last_claimed_at, d.tenant_id) as lane_no,
        d.outside
    from due d
    where d.tenant_no <= d.places
),
touched as (
    select tenant_id, run_id from settled
    union
    select tenant_id, run_id from in_turn
    where lane_no <= case when outside then $3::integer else $4::integer end
)
select set_config('aos.turn', jsonb_build_object(
    'tenants', (select coalesce(jsonb_agg(distinct tenant_id), '[]') from touched),
    'runs', (select coalesce(jsonb_agg(run_id), '[]') from touched),
    'settled', (select coalesce(jsonb_agg(run_id), '[]') from settled)
)::text, true)
