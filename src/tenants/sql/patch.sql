-- name: tenants.set
-- $1 the tenant · $2 the patch
select set_tenant($1::uuid, $2::jsonb)
