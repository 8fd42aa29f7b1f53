-- name: api_keys.read
select jsonb_build_object(
    'id', k.id, 'name', k.name, 'prefix', k.prefix, 'scopes', k.scopes, 'requests_per_minute', k.requests_per_minute,
    'created_by', k.created_by, 'created_at', k.created_at, 'expires_at', k.expires_at,
    'last_used_at', k.last_used_at, 'revoked_at', k.revoked_at, 'rotated_from', k.rotated_from
) as data
from api_keys k
where k.id = $1::uuid and k.tenant_id = current_tenant()
