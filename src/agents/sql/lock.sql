-- name: agents.lock
-- Creating a run takes the same lock: no run begins under an agent that is being deleted, none slips past a limit.
select a.id
from agents a
where a.id = $1::uuid and a.tenant_id = current_tenant() and a.deleted_at is null
for no key update
