-- name: runs.read_steps
-- The smallest outputs fit first; what does not fit is left out and says so.
--
-- $1 the run · $2 the key of one step, or null · $3 bytes of all outputs together
select jsonb_build_object(
    'id', s.id, 'key', s.key, 'skill', s.skill, 'status', s.status, 'params', s.params, 'attempt', s.attempt,
    'max_attempts', s.max_attempts, 'output', case when s.fits then s.output end,
    'output_omitted', not s.fits and s.output is not null or s.output_ref is not null, 'output_ref', s.output_ref,
    'error', s.error, 'outcome', s.outcome,
    'cost_microusd', s.cost_microusd, 'duration_ms', s.duration_ms,
    'due_at', case when s.status = 'queued' then s.due_at end, 'started_at', s.started_at, 'ended_at', s.ended_at
) as data
from (
    select s.*, sum(s.output_bytes) over (order by s.output_bytes, s.idx rows unbounded preceding) <= $3::integer as fits
    from steps s
    where s.run_id = $1::uuid and s.tenant_id = current_tenant() and ($2::text is null or s.key = $2)
) s
order by s.idx
