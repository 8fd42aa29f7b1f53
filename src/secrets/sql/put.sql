-- name: sealed_values.put
-- Writes sealed values in place of those that are there, unless there would be too many. Sent again it writes the same.
--
-- $1 the kind · $2 [{name, sealed}] · $3 now · $4 who · $5 the most there may be · $6 … $11 the audit entry
with wanted as (
    select * from jsonb_to_recordset($2::jsonb) as w (name text, sealed text)
),
written as (
    insert into sealed_values (tenant_id, kind, name, sealed, created_at, updated_at, updated_by)
    select current_tenant(), $1, w.name, w.sealed, $3::timestamptz, $3::timestamptz, $4
    from wanted w
    where $5::integer >= (select count(*) from wanted) + (
        select count(*) from sealed_values v
        where v.tenant_id = current_tenant() and v.kind = $1 and v.name not in (select o.name from wanted o)
    )
    on conflict (tenant_id, kind, name) do update
    set sealed = excluded.sealed, updated_at = excluded.updated_at, updated_by = excluded.updated_by
    returning name
)
select note_done($6::uuid, current_tenant(), $7, $8, $9, $10, $11)
from (select from written limit 1) one
