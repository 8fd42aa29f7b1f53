-- name: api_keys.rotated
-- $1 the new key · $2 the old one · $3 now
select jsonb_build_object(
    'created', exists (select from api_keys a where a.id = $1::uuid and a.tenant_id = current_tenant()),
    'found', exists (select from api_keys a where a.id = $2::uuid and a.tenant_id = current_tenant()),
    'ended', exists (
        select from api_keys a
        where a.id = $2::uuid and a.tenant_id = current_tenant()
            and (a.revoked_at is not null or a.expires_at <= $3::timestamptz)
    )
) as data
