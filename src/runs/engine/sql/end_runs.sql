-- name: turn.end_runs
-- A run ends with its last step, and says so in the outbox in the same transaction.
with ended as (
    update runs r
    set status = case when r.error is null then 'succeeded' else 'failed' end, ended_at = statement_timestamp()
    where r.status in ('queued', 'running')
        and r.id in (
            select ids.value::uuid from jsonb_array_elements_text(current_setting('aos.turn')::jsonb -> 'settled') ids
        )
        and not exists (
            select from steps s where s.run_id = r.id and s.status in ('pending', 'queued', 'running', 'waiting')
        )
    returning r.id, r.tenant_id, r.status
)
insert into outbox (id, tenant_id, topic, payload, due_at)
select uuid_v7(), e.tenant_id, 'run.' || e.status, jsonb_build_object('run_id', e.id), statement_timestamp()
from ended e
