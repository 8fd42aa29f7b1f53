-- name: runs.found
select to_jsonb(r.status) as data
from runs r
where r.id = $1::uuid and r.tenant_id = current_tenant()
