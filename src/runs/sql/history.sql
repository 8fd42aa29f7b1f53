-- name: runs.read_history
-- $1 the run · $2 the number after which to begin · $3 how many rows
select jsonb_build_object(
    'seq', h.seq, 'entity', h.entity, 'step_key', h.step_key, 'from_status', h.from_status, 'to_status', h.to_status,
    'attempt', h.attempt, 'error', h.error, 'at', h.at
) as data
from status_history h
where h.run_id = $1::uuid and h.tenant_id = current_tenant() and h.seq > $2::integer
order by h.seq
limit $3::integer
