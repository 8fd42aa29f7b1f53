-- name: agents.page
-- $1 the id after which the page begins, or null · $2 how many rows
select jsonb_build_object(
    'id', a.id, 'name', a.name, 'instructions', a.instructions, 'model', a.model, 'allowed_skills', a.allowed_skills,
    'max_concurrent_runs', a.max_concurrent_runs, 'max_runs_per_minute', a.max_runs_per_minute, 'labels', a.labels,
    'created_at', a.created_at, 'updated_at', a.updated_at
) as data
from agents a
where a.tenant_id = current_tenant() and a.deleted_at is null and ($1::uuid is null or a.id < $1::uuid)
order by a.id desc
limit $2::integer
