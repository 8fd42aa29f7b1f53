-- name: sealed_values.list
-- $1 the kind · $2 one name, or null for all · $3 whether the sealed values are wanted
select jsonb_build_object(
    'name', v.name, 'created_at', v.created_at, 'updated_at', v.updated_at, 'updated_by', v.updated_by,
    'sealed', case when $3::boolean then v.sealed end
) as data
from sealed_values v
where v.tenant_id = current_tenant() and v.kind = $1 and ($2::text is null or v.name = $2)
order by v.name
