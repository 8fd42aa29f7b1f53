-- name: runs.lock
-- A turn of the engine that is at work on the run ends first.
select r.id
from runs r
where r.id = $1::uuid and r.tenant_id = current_tenant()
for no key update
