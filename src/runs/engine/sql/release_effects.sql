-- name: turn.release_effects
-- A step released unstarted takes its begun effect back: nothing happened.
--
-- $1 [{step_id, claim_no, state: null}] for what is released
delete from effects e
using jsonb_to_recordset($1::jsonb) as x (step_id uuid, claim_no integer, state text)
where e.step_id = x.step_id and e.claim_no = x.claim_no and e.state = 'begun' and x.state is null
