-- name: turn.settle_effects
-- Finalises the ledger of effects, also for steps that were cancelled while they ran. What may have happened in an attempt
-- whose answer was lost stays possible until an attempt succeeds.
--
-- $1 [{step_id, claim_no, state, effects, lost, succeeded}]
update effects e
set possible = (e.possible or x.lost) and not x.succeeded,
    state = case when x.state = 'finalised' and (e.possible or x.lost) and not x.succeeded then 'unknown' else x.state end,
    effects = x.effects, finalised_at = statement_timestamp()
from jsonb_to_recordset($1::jsonb) as x (
    step_id uuid, claim_no integer, state text, effects jsonb, lost boolean, succeeded boolean
)
where e.step_id = x.step_id and e.claim_no = x.claim_no and e.state = 'begun' and x.state is not null
