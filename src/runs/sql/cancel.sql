-- name: runs.mark_cancelled
-- The run, unless it has ended, and the message that says so.
--
-- $1 the run · $2 the new message's id
with cancelled as (
    update runs r
    set status = 'cancelled', ended_at = statement_timestamp()
    where r.id = $1::uuid and r.tenant_id = current_tenant() and r.ended_at is null
    returning r.id, r.tenant_id
)
insert into outbox (id, tenant_id, topic, payload, due_at)
select $2::uuid, c.tenant_id, 'run.cancelled', jsonb_build_object('run_id', c.id), statement_timestamp()
from cancelled c
