-- name: api_keys.release_key
-- A refused request is not stored: the key that it took is free again.
--
-- $1 the new API key · $2 route · $3 idempotency key · $4 the API key's id at the API
delete from idempotency_keys k
where k.tenant_id = current_tenant() and k.route = $2 and k.key = $3 and k.answer ->> 'id' = $4
    and not exists (select from api_keys a where a.id = $1::uuid and a.tenant_id = current_tenant())
