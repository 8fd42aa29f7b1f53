-- name: runs.release_key
-- A refused request is not stored: the key that it took is free again, and a twin that waits for it takes it over.
--
-- $1 the run · $2 route · $3 idempotency key · $4 the run's id at the API
delete from idempotency_keys k
where k.tenant_id = current_tenant() and k.route = $2 and k.key = $3 and k.answer ->> 'id' = $4
    and not exists (select from runs r where r.id = $1::uuid and r.tenant_id = current_tenant())
