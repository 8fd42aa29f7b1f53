-- name: api_keys.complete_answer
-- What is given again later: everything about the new key but the key.
--
-- $1 route · $2 idempotency key · $3 the new key's id at the API · $4 the new key
update idempotency_keys i
set answer = jsonb_build_object(
    'id', k.id, 'name', k.name, 'prefix', k.prefix, 'scopes', k.scopes, 'requests_per_minute', k.requests_per_minute,
    'created_by', k.created_by, 'created_at', k.created_at, 'expires_at', k.expires_at,
    'last_used_at', k.last_used_at, 'revoked_at', k.revoked_at, 'rotated_from', k.rotated_from
) || jsonb_build_object('id', $3::text, 'key', null)
from api_keys k
where i.tenant_id = current_tenant() and i.route = $1 and i.key = $2 and i.answer ->> 'id' = $3
    and k.id = $4::uuid and k.tenant_id = current_tenant()
