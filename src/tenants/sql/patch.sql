-- name: tenants.update
-- $1 the tenant · $2 the patch
update tenants t
set tier = coalesce(p.patch ->> 'tier', t.tier),
    max_concurrent_steps = coalesce((p.patch ->> 'max_concurrent_steps')::integer, t.max_concurrent_steps),
    requests_per_minute = case
        when p.patch ? 'requests_per_minute' then (p.patch ->> 'requests_per_minute')::integer
        else t.requests_per_minute
    end
from (select $2::jsonb as patch) p
where t.id = $1::uuid
