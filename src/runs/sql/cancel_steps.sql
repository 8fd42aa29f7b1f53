-- name: runs.cancel_steps
update steps s
set status = 'cancelled', ended_at = statement_timestamp()
from runs r
where r.id = $1::uuid and r.tenant_id = current_tenant() and r.ended_at is null
    and s.run_id = r.id and s.tenant_id = current_tenant()
    and s.status in ('pending', 'queued', 'running', 'waiting')
