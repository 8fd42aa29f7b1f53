-- name: agents.deleted
-- Deleted by this very request (or by itself, sent before), or still there because of its open runs.
select jsonb_build_object(
    'deleted', exists (
        select from agents a
        where a.id = $1::uuid and a.tenant_id = current_tenant() and a.deleted_at = $2::timestamptz
    ),
    'found', exists (
        select from agents a where a.id = $1::uuid and a.tenant_id = current_tenant() and a.deleted_at is null
    )
) as data
