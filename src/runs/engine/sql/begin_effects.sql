-- name: turn.begin_effects
-- Written by the claim, before anybody can start the effect. What an earlier attempt left stays until this one has
-- ended: released unstarted, it is what happened.
--
-- $1 the turn
insert into effects (step_id, tenant_id, run_id, claim_no, state, begun_at)
select s.id, s.tenant_id, s.run_id, s.claim_no, 'begun', statement_timestamp()
from steps s
where s.turn_id = $1::uuid and s.status = 'running' and s.effect_class in ('repeatable', 'once')
on conflict (step_id) do update
set claim_no = excluded.claim_no, state = 'begun', begun_at = excluded.begun_at
where effects.claim_no < excluded.claim_no
