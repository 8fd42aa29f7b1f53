-- name: runs.insert
-- Creates the run if its agent may have it, and says what it found; one statement, so that both see the same rows.
-- The agent's row is locked: runs of one agent are created one after the other.
--
-- $1 route · $2 idempotency key or null · $3 the new run's id at the API · $4 … $9 the run · $10 now · $11 its skills
-- $12 the secrets that it names
with agent as (
    select a.allowed_skills, a.max_concurrent_runs, a.max_runs_per_minute
    from agents a
    where a.id = $5::uuid and a.tenant_id = current_tenant() and a.deleted_at is null
),
found as (
    select
        -- Sent again after a lost answer.
        exists (select from runs r where r.id = $4::uuid and r.tenant_id = current_tenant()) as is_there,
        exists (select from agent) as agent_found,
        (
            select coalesce(jsonb_agg(wanted.skill), '[]')
            from agent a, jsonb_array_elements_text($11::jsonb) as wanted (skill)
            where not a.allowed_skills ? wanted.skill
        ) as missing_skills,
        (
            select coalesce(jsonb_agg(wanted.name), '[]')
            from jsonb_array_elements_text($12::jsonb) as wanted (name)
            where not exists (
                select from sealed_values v
                where v.tenant_id = current_tenant() and v.kind = 'secret' and v.name = wanted.name
            )
        ) as missing_secrets,
        exists (
            select
            from agent a
            where a.max_concurrent_runs <= (
                select count(*) from (
                    select from runs r
                    where r.agent_id = $5::uuid and r.tenant_id = current_tenant() and r.ended_at is null
                    limit a.max_concurrent_runs
                ) open
            )
        ) as too_many_open,
        (
            select r.created_at
            from agent a
            cross join lateral (
                select r.created_at from runs r
                where r.agent_id = $5::uuid and r.tenant_id = current_tenant()
                    and r.created_at > $10::timestamptz - interval '1 minute'
                order by r.created_at desc
                offset a.max_runs_per_minute - 1 limit 1
            ) r
        ) as minute_full_since
),
created as (
    insert into runs (id, tenant_id, agent_id, status, plan, plan_hash, input, labels, created_at)
    select $4::uuid, current_tenant(), $5::uuid, 'queued', $6::jsonb, $7, $8::jsonb, $9::jsonb, $10::timestamptz
    from found f
    where not f.is_there and f.agent_found and f.missing_skills = '[]'
        and f.missing_secrets = '[]' and not f.too_many_open
        and f.minute_full_since is null
        and ($2::text is null or exists (
            select from idempotency_keys k
            where k.tenant_id = current_tenant() and k.route = $1 and k.key = $2 and k.answer ->> 'id' = $3
        ))
    returning id
)
select jsonb_build_object(
    'created', f.is_there or exists (select from created), 'agent_found', f.agent_found,
    'missing_skills', f.missing_skills, 'missing_secrets', f.missing_secrets, 'too_many_open', f.too_many_open, 'minute_full_since', f.minute_full_since
) as data
from found f
