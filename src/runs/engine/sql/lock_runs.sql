-- name: turn.lock_runs
-- Two predecessors of a join that finish together take this lock one after the other: the second one sees the first.
select r.id
from runs r
where r.id in (
    select ids.value::uuid from jsonb_array_elements_text(current_setting('aos.turn')::jsonb -> 'runs') ids
)
order by r.id
for no key update
