-- name: turn.settle_effects
-- Finalises the ledger of effects, also for steps that were cancelled while they ran.
--
-- $1 [{step_id, claim_no, state, effects}]
update effects e
set state = x.state, effects = x.effects, finalised_at = statement_timestamp()
from jsonb_to_recordset($1::jsonb) as x (step_id uuid, claim_no integer, state text, effects jsonb)
where e.step_id = x.step_id and e.claim_no = x.claim_no and e.state = 'begun' and x.state is not null
