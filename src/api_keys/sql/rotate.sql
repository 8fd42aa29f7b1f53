-- name: api_keys.insert_successor
-- The successor of a key that still opens something and may do nothing that the caller may not give; with it, the end
-- of the old key. Sent again, it finds its own row and does nothing.
--
-- $1 route · $2 idempotency key or null · $3 the new key's id at the API · $4 the new key · $5 the old one · $6 hash
-- $7 prefix · $8 what the caller may give · $9 who · $10 now · $11 when the new key ends, or null · $12 when the old one
-- does · $13 … $18 the audit entry
with old as (
    select a.id, a.name, a.scopes, a.requests_per_minute, a.created_at, a.expires_at
    from api_keys a
    where a.id = $5::uuid and a.tenant_id = current_tenant() and a.revoked_at is null
        and coalesce(a.expires_at, 'infinity') > $10::timestamptz
        and a.scopes <@ $8::jsonb
),
created as (
    insert into api_keys (
        id, tenant_id, name, hash, prefix, scopes, requests_per_minute, created_by, created_at, expires_at, rotated_from
    )
    select $4::uuid, current_tenant(), o.name, $6, $7, o.scopes, o.requests_per_minute, $9, $10::timestamptz,
        coalesce($11::timestamptz, $10::timestamptz + (o.expires_at - o.created_at)), o.id
    from old o
    where $2::text is null or exists (
        select from idempotency_keys k
        where k.tenant_id = current_tenant() and k.route = $1 and k.key = $2 and k.answer ->> 'id' = $3
    )
    on conflict (id) do nothing
    returning id
),
ended as (
    update api_keys a
    set expires_at = least(coalesce(a.expires_at, 'infinity'), $12::timestamptz)
    from created c
    where a.id = $5::uuid and a.tenant_id = current_tenant()
)
select note_done($13::uuid, current_tenant(), $14, $15, $16, $17, $18)
from created
