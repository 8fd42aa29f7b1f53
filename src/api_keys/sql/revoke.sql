-- name: api_keys.mark_revoked
-- $1 the key · $2 now · $3 … $8 the audit entry
with revoked as (
    update api_keys k
    set revoked_at = $2::timestamptz
    where k.id = $1::uuid and k.tenant_id = current_tenant() and k.revoked_at is null
    returning k.id
)
select note_done($3::uuid, current_tenant(), $4, $5, $6, $7, $8)
from revoked
