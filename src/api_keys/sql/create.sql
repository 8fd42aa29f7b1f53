-- name: api_keys.insert
-- Only under an idempotency key of our own, if there is one. Sent again, it finds its own row and does nothing.
--
-- $1 route · $2 idempotency key or null · $3 the new key's id at the API · $4 … $12 the API key · $13 the most there may be
-- $14 … $19 the audit entry
with created as (
    insert into api_keys (
        id, tenant_id, name, hash, prefix, scopes, requests_per_minute, created_by, created_at, expires_at
    )
    select $4::uuid, current_tenant(), $5, $6, $7, $8::jsonb, $9::integer, $10, $11::timestamptz, $12::timestamptz
    where (
        $2::text is null or exists (
            select from idempotency_keys k
            where k.tenant_id = current_tenant() and k.route = $1 and k.key = $2 and k.answer ->> 'id' = $3
        )
    ) and $13::integer > (
        select count(*) from api_keys a
        where a.tenant_id = current_tenant() and a.revoked_at is null
            and coalesce(a.expires_at, 'infinity') > $11::timestamptz
    )
    on conflict (id) do nothing
    returning id
)
select note_done($14::uuid, current_tenant(), $15, $16, $17, $18, $19)
from created
