-- name: tick.pick
-- Chooses the runs of steps whose lease ran out, for the statements that follow.
--
-- $1 how many steps at most
with expired as (
    select s.tenant_id, s.run_id
    from steps s
    where s.status = 'running' and s.lease_until < statement_timestamp()
    order by s.lease_until
    limit $1::integer
)
select set_config('aos.turn', jsonb_build_object(
    'tenants', (select coalesce(jsonb_agg(distinct tenant_id), '[]') from expired),
    'runs', (select coalesce(jsonb_agg(distinct run_id), '[]') from expired),
    'settled', (select coalesce(jsonb_agg(distinct run_id), '[]') from expired)
)::text, true)
