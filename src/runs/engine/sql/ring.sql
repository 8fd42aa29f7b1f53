-- name: tick.ring
-- What is due and nobody has come for: the doorbell was lost, or never rung. Skips what a turn holds just now.
--
-- $1 how many at most · $2 seconds until cron rings again
with silent as (
    select s.id
    from steps s
    where s.status = 'queued' and s.ring_at <= statement_timestamp()
    order by s.ring_at
    limit $1::integer
    for no key update skip locked
),
rung as (
    update steps s
    set ring_at = statement_timestamp() + make_interval(secs => $2::integer)
    from silent x
    where s.id = x.id
    returning s.id
)
select to_jsonb(r.id) as data from rung r
