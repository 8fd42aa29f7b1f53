-- name: runs.insert_steps
-- All steps of a run that was created; the roots are due at once, and cron rings for them if nobody has by ring_at.
--
-- $1 the run · $2 the steps, as create.rs defines them · $3 seconds until cron rings
insert into steps (
    id, tenant_id, run_id, idx, key, skill, params, needs, refs, is_sink, condition, on_error, max_attempts, backoff_ms,
    timeout_ms, effect_class, outside, secret_names, status, due_at, ring_at
)
select
    s.id, r.tenant_id, r.id, s.idx, s.key, s.skill, s.params, s.needs, s.refs, s.is_sink, s.condition, s.on_error,
    s.max_attempts, s.backoff_ms, s.timeout_ms, s.effect_class, s.outside, s.secret_names,
    case when s.needs = '{}' then 'queued' else 'pending' end,
    case when s.needs = '{}' then statement_timestamp() end,
    case when s.needs = '{}' then statement_timestamp() + make_interval(secs => $3::integer) end
from runs r
cross join jsonb_to_recordset($2::jsonb) as s (
    id uuid, idx smallint, key text, skill text, params jsonb, needs smallint[], refs smallint[], is_sink boolean,
    condition text, on_error text, max_attempts smallint, backoff_ms integer, timeout_ms integer, effect_class text,
    outside boolean, secret_names jsonb
)
where r.id = $1::uuid and r.tenant_id = current_tenant()
on conflict (run_id, idx) do nothing
