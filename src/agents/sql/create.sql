-- name: agents.insert
-- Only under a key of our own, if there is a key. Sent again, it finds its own agent; a taken name raises 23505.
--
-- $1 route · $2 idempotency key or null · $3 the new agent's id at the API · $4 … the agent
insert into agents (
    id, tenant_id, name, instructions, model, allowed_skills, max_concurrent_runs, max_runs_per_minute, labels,
    created_at, updated_at
)
select $4::uuid, current_tenant(), $5, $6, $7, $8::jsonb, $9::integer, $10::integer, $11::jsonb, $12::timestamptz,
    $12::timestamptz
where $2::text is null or exists (
    select from idempotency_keys k
    where k.tenant_id = current_tenant() and k.route = $1 and k.key = $2 and k.answer ->> 'id' = $3
)
on conflict (id) do nothing
