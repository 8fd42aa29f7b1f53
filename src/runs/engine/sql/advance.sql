-- name: turn.advance
-- A step is due when everything it needs has ended. Read from the state, not from counters: a turn sent again, or
-- two at once, come to the same.
--
-- $1 the turn · $2 seconds until cron rings
update steps s
set status = 'queued', turn_id = $1::uuid, due_at = statement_timestamp(),
    ring_at = statement_timestamp() + make_interval(secs => $2::integer)
from runs r
where r.id = s.run_id and r.error is null and r.status in ('queued', 'running') and s.status = 'pending'
    and r.id in (
        select ids.value::uuid from jsonb_array_elements_text(current_setting('aos.turn')::jsonb -> 'settled') ids
    )
    and not exists (
        select from steps n
        where n.run_id = s.run_id and n.idx = any (s.needs) and n.status not in ('succeeded', 'failed', 'skipped')
    )
