-- name: tick.expire_cancelled_effects
-- A step that was cancelled while it ran, and whose executor never came back to say what became of its effect.
--
-- $1 how many at most
with orphaned as (
    select e.step_id
    from effects e
    join steps s on s.id = e.step_id
    where e.state = 'begun' and s.status = 'cancelled' and s.lease_until < statement_timestamp()
    order by e.begun_at
    limit $1::integer
)
update effects e
set state = 'unknown', finalised_at = statement_timestamp()
from orphaned o
where e.step_id = o.step_id and e.state = 'begun'
