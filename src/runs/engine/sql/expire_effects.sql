-- name: tick.expire_effects
-- The ledger says what is not known.
--
-- $1 the turn
update effects e
set state = 'unknown', finalised_at = statement_timestamp()
from steps s
where e.step_id = s.id and e.state = 'begun' and s.status = 'failed' and s.turn_id = $1::uuid
    and s.run_id in (
        select ids.value::uuid from jsonb_array_elements_text(current_setting('aos.turn')::jsonb -> 'runs') ids
    )
