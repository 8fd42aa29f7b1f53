-- name: runs.read
-- The output of a run is that of its sinks. The smallest ones fit first; what does not fit is named.
--
-- $1 the run · $2 bytes of all outputs together · $3 whether a run that has not ended is wanted too
select jsonb_build_object(
    'id', r.id, 'agent_id', r.agent_id, 'status', r.status, 'input', r.input, 'labels', r.labels, 'plan', r.plan,
    'plan_hash', r.plan_hash, 'error', r.error,
    'created_at', r.created_at, 'started_at', r.started_at, 'ended_at', r.ended_at,
    'output', o.output, 'output_archived', o.archived, 'output_omitted', o.omitted,
    'steps', (
        select coalesce(jsonb_object_agg(c.status, c.n), '{}') || jsonb_build_object('total', coalesce(sum(c.n), 0))
        from (select s.status, count(*) as n from steps s where s.run_id = r.id group by s.status) c
    )
) as data
from runs r
left join lateral (
    select
        coalesce(jsonb_object_agg(k.key, k.output) filter (where k.fits and k.output_ref is null), '{}') as output,
        jsonb_object_agg(k.key, k.output_ref) filter (where k.fits and k.output_ref is not null) as archived,
        jsonb_agg(k.key order by k.idx) filter (where not k.fits) as omitted
    from (
        select s.idx, s.key, s.output, s.output_ref,
            sum(s.output_bytes) over (order by s.output_bytes, s.idx rows unbounded preceding) <= $2::integer as fits
        from steps s
        where s.run_id = r.id and s.is_sink and s.status = 'succeeded'
    ) k
) o on r.status = 'succeeded'
where r.id = $1::uuid and r.tenant_id = current_tenant() and ($3::boolean or r.ended_at is not null)
