-- name: turn.fail_runs
-- The first failed step that aborts decides the run. Steps that run beside it may still end; then the run does.
update runs r
set error = f.error
from (
    select distinct on (s.run_id) s.run_id,
        jsonb_build_object('step', s.key) || jsonb_build_object(
            'category', s.error -> 'category', 'code', s.error -> 'code', 'message', s.error -> 'message'
        ) as error
    from steps s
    where s.status = 'failed' and s.on_error = 'abort'
        and s.run_id in (
            select ids.value::uuid from jsonb_array_elements_text(current_setting('aos.turn')::jsonb -> 'settled') ids
        )
    order by s.run_id, s.ended_at, s.idx
) f
where r.id = f.run_id and r.error is null and r.status in ('queued', 'running')
