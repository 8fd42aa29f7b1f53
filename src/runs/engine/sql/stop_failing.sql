-- name: turn.stop_failing
-- Nothing more starts in a run that is failing.
update steps s
set status = 'cancelled', due_at = null, ring_at = null, ended_at = statement_timestamp()
from runs r
where r.id = s.run_id and r.error is not null and r.status in ('queued', 'running')
    and s.status in ('pending', 'queued')
    and r.id in (
        select ids.value::uuid from jsonb_array_elements_text(current_setting('aos.turn')::jsonb -> 'settled') ids
    )
