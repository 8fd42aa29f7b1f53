-- name: agents.update
-- $1 the agent · $2 the patch · $3 now · $4 the most labels there may be
update agents a
set name = coalesce(p.patch ->> 'name', a.name),
    instructions = coalesce(p.patch ->> 'instructions', a.instructions),
    model = case when p.patch ? 'model' then p.patch ->> 'model' else a.model end,
    allowed_skills = coalesce(p.patch -> 'allowed_skills', a.allowed_skills),
    max_concurrent_runs = coalesce((p.patch ->> 'max_concurrent_runs')::integer, a.max_concurrent_runs),
    max_runs_per_minute = coalesce((p.patch ->> 'max_runs_per_minute')::integer, a.max_runs_per_minute),
    labels = jsonb_strip_nulls(a.labels || coalesce(p.patch -> 'labels', '{}')),
    updated_at = $3::timestamptz
from (select $2::jsonb as patch) p
where a.id = $1::uuid and a.tenant_id = current_tenant() and a.deleted_at is null
    and $4::integer >= (
        select count(*) from jsonb_object_keys(jsonb_strip_nulls(a.labels || coalesce(p.patch -> 'labels', '{}')))
    )
