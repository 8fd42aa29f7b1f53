-- name: runs.page
-- $1 the id after which the page begins, or null · $2 status or null · $3 agent or null · $4 how many rows
select jsonb_build_object(
    'id', r.id, 'agent_id', r.agent_id, 'status', r.status, 'labels', r.labels, 'plan_hash', r.plan_hash,
    'error', r.error, 'created_at', r.created_at, 'started_at', r.started_at, 'ended_at', r.ended_at,
    'steps', (
        select coalesce(jsonb_object_agg(c.status, c.n), '{}') || jsonb_build_object('total', coalesce(sum(c.n), 0))
        from (select s.status, count(*) as n from steps s where s.run_id = r.id group by s.status) c
    )
) as data
from runs r
where r.tenant_id = current_tenant()
    and ($1::uuid is null or r.id < $1::uuid)
    and ($2::text is null or r.status = $2)
    and ($3::uuid is null or r.agent_id = $3::uuid)
order by r.id desc
limit $4::integer
