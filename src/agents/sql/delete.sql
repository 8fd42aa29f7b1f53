-- name: agents.mark_deleted
update agents a
set deleted_at = $2::timestamptz, updated_at = $2::timestamptz
where a.id = $1::uuid and a.tenant_id = current_tenant() and a.deleted_at is null
    and not exists (
        select from runs r where r.agent_id = a.id and r.tenant_id = current_tenant() and r.ended_at is null
    )
