-- name: tenants.page
-- $1 the id after which the page begins, or null · $2 how many rows · $3 a name, or null · $4 a tier, or null
select jsonb_build_object(
    'id', t.id, 'name', t.external_id, 'tier', t.tier, 'max_concurrent_steps', t.max_concurrent_steps,
    'requests_per_minute', t.requests_per_minute, 'created_at', t.created_at, 'erasing_since', t.erasing_since
) as data
from tenants t
where ($1::uuid is null or t.id < $1::uuid)
    and ($3::text is null or t.external_id = $3)
    and ($4::text is null or t.tier = $4)
order by t.id desc
limit $2::integer
