-- name: sealed_values.delete
-- $1 the kind · $2 the names · $3 … $8 the audit entry
with gone as (
    delete from sealed_values v
    where v.tenant_id = current_tenant() and v.kind = $1
        and v.name in (select names.value from jsonb_array_elements_text($2::jsonb) names)
    returning v.name
)
select note_done($3::uuid, current_tenant(), $4, $5, $6, $7, $8)
from (select from gone limit 1) one
