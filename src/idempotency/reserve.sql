-- name: idempotency.reserve
-- A concurrent twin waits here until the holder of the key commits or rolls back.
insert into idempotency_keys (tenant_id, route, key, body_hash, status, answer)
values (current_tenant(), $1, $2, $3, $4, $5::jsonb)
on conflict (tenant_id, route, key) do nothing
