-- name: tenants.erase_rows
-- $1 the tenant · $2 how many runs at most · $3 how many steps, about
select erase_tenant($1::uuid, $2::integer, $3::integer) as data
