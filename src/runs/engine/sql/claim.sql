-- name: turn.claim
-- Claims due steps of the runs that this turn has locked. Tenants take turns: everybody's first, then everybody's
-- second, and the tenant served longest ago wins the last lane. Within a tenant the runs just settled go on first.
--
-- $1 the turn · $2 lanes for outside calls · $3 places for pure steps · $4 the longest timeout that may start, in ms
-- $5 how many bytes of params, inputs and referenced outputs one claim may carry; the first step is claimed even so
-- $6 seconds that a lease outlasts the timeout
with turn as materialized (
    select current_setting('aos.turn')::jsonb as t
),
settled as materialized (
    select ids.value::uuid as run_id from turn, jsonb_array_elements_text(turn.t -> 'settled') ids
),
free as materialized (
    select t.id, t.last_claimed_at, t.max_concurrent_steps - (
        select count(*) from steps s where s.status = 'running' and s.tenant_id = t.id
    ) as places
    from turn, jsonb_array_elements_text(turn.t -> 'tenants') ids
    join tenants t on t.id = ids.value::uuid
),
due as (
    select s.id, s.tenant_id, s.run_id, s.outside, f.last_claimed_at, f.places,
        row_number() over (
            partition by s.tenant_id order by (s.run_id in (select run_id from settled)) desc, s.due_at, s.id
        ) as tenant_no
    from turn, jsonb_array_elements_text(turn.t -> 'runs') ids
    join steps s on s.run_id = ids.value::uuid
    join free f on f.id = s.tenant_id
    where s.status = 'queued' and s.due_at <= statement_timestamp() and s.timeout_ms <= $4::integer
        and not exists (select from steps x where x.turn_id = $1::uuid and x.status = 'running')
),
in_turn as (
    select d.*,
        row_number() over (partition by d.outside order by d.tenant_no, d.last_claimed_at, d.tenant_id, d.id) as lane_no
    from due d
    where d.tenant_no <= d.places
),
ordered as (
    select i.id, row_number() over (order by i.tenant_no, i.last_claimed_at, i.tenant_id, i.id) as claim_order,
        row_number() over (
            partition by i.run_id order by i.tenant_no, i.last_claimed_at, i.tenant_id, i.id
        ) as run_no
    from in_turn i
    where i.lane_no <= case when i.outside then $2::integer else $3::integer end
),
-- As text, in which the answer carries them: a number like 1e300 has 301 digits there.
sized as (
    select o.id, o.claim_order,
        sum(
            octet_length(s.params::text)
            + case when o.run_no = 1 then (select octet_length(r.input::text) from runs r where r.id = s.run_id) else 0 end
            + (select coalesce(sum(n.output_bytes), 0) from steps n where n.run_id = s.run_id and n.idx = any (s.refs))
        ) over (order by o.claim_order) as bytes_so_far
    from ordered o
    join steps s on s.id = o.id
)
update steps s
set status = 'running', turn_id = $1::uuid, claim_no = s.claim_no + 1, due_at = null, ring_at = null,
    lease_until = statement_timestamp() + make_interval(secs => s.timeout_ms / 1000.0 + $6::integer),
    started_at = coalesce(s.started_at, statement_timestamp())
from sized z
where s.id = z.id and (z.bytes_so_far <= $5::integer or z.claim_order = 1)
