-- name: tenants.read
select jsonb_build_object(
    'id', t.id, 'name', t.external_id, 'tier', t.tier, 'max_concurrent_steps', t.max_concurrent_steps,
    'requests_per_minute', t.requests_per_minute, 'created_at', t.created_at, 'erasing_since', t.erasing_since
) as data
from tenants t
where t.id = $1::uuid
