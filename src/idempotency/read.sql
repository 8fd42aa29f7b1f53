-- name: idempotency.read
select jsonb_build_object('body_hash', k.body_hash, 'status', k.status, 'answer', k.answer) as data
from idempotency_keys k
where k.tenant_id = current_tenant() and k.route = $1 and k.key = $2
