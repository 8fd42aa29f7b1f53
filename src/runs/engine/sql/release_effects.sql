-- name: turn.release_effects
-- A step released unstarted takes its begun effect back: nothing happened, but for what earlier attempts did.
--
-- $1 [{step_id, claim_no, state: null}] for what is released
with released as (
    select x.step_id, x.claim_no
    from jsonb_to_recordset($1::jsonb) as x (step_id uuid, claim_no integer, state text)
    where x.state is null
),
forgotten as (
    delete from effects e
    using released x
    where e.step_id = x.step_id and e.claim_no = x.claim_no and e.state = 'begun' and e.finalised_at is null
)
update effects e
set state = 'finalised'
from released x
where e.step_id = x.step_id and e.claim_no = x.claim_no and e.state = 'begun' and e.finalised_at is not null
