-- name: api_keys.is_there
select to_jsonb(exists (
    select from api_keys k where k.id = $1::uuid and k.tenant_id = current_tenant()
)) as data
