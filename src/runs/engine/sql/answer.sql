-- name: turn.answer
-- What the executor needs to go on: the claimed steps with what they refer to, the steps that became due and were
-- not claimed, some of what more is due, and which runs have news. Read from the state by the turns' ids, so that a turn
-- sent again, or one whose answer was lost, gives the same.
--
-- $1 the turns whose answers have not been seen, this one included · $2 how many bytes of params, input and referenced
-- outputs one step may carry; one with more is answered without them
with recursive
turns as materialized (
    select ids.value::uuid as id from jsonb_array_elements_text($1::jsonb) ids
),
claimed as materialized (
    select s.*,
        octet_length(s.params::text)
        + (select octet_length(r.input::text) from runs r where r.id = s.run_id)
        + (select coalesce(sum(n.output_bytes), 0) from steps n where n.run_id = s.run_id and n.idx = any (s.refs))
        > $2::integer as too_large
    from steps s where s.turn_id in (select id from turns) and s.status = 'running'
),
queued_tenant (id) as (
    (select s.tenant_id from steps s where s.status = 'queued' order by s.tenant_id limit 1)
    union all
    select (
        select s.tenant_id from steps s
        where s.status = 'queued' and s.tenant_id > q.id
        order by s.tenant_id limit 1
    )
    from queued_tenant q
    where q.id is not null
),
-- Bounded by the tenant's free places: what a full tenant has due is claimed by its own completions.
more_due as (
    select due.id, due.outside, due.timeout_ms
    from queued_tenant q
    join tenants t on t.id = q.id
    cross join lateral (
        select count(*) as n from (
            select from steps s where s.status = 'running' and s.tenant_id = t.id limit t.max_concurrent_steps
        ) few
    ) running
    cross join lateral (
        select s.id, s.outside, s.timeout_ms from steps s
        where s.status = 'queued' and s.tenant_id = t.id and s.due_at <= statement_timestamp()
        limit greatest(0, least(t.max_concurrent_steps - running.n, 100))
    ) due
    limit 100
)
select jsonb_build_object(
    'claimed', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'step_id', c.id, 'tenant_id', c.tenant_id, 'run_id', c.run_id, 'key', c.key, 'skill', c.skill,
            'params', case when not c.too_large then c.params end, 'condition', c.condition, 'attempt', c.attempt, 'claim_no', c.claim_no,
            'max_attempts', c.max_attempts, 'backoff_ms', c.backoff_ms, 'timeout_ms', c.timeout_ms,
            'effect_class', c.effect_class, 'outside', c.outside,
            'lease_ms', floor(extract(epoch from c.lease_until - statement_timestamp()) * 1000)::bigint,
            'refs', (
                select coalesce(
                    jsonb_object_agg(n.key, jsonb_build_object(
                        'output', n.output, 'archived', n.output_ref, 'status', n.status
                    )), '{}'
                )
                from steps n where n.run_id = c.run_id and n.idx = any (c.refs) and not c.too_large
            ),
            'too_large', c.too_large,
            'needs_all_skipped', cardinality(c.needs) > 0 and not exists (
                select from steps n where n.run_id = c.run_id and n.idx = any (c.needs) and n.status <> 'skipped'
            )
        ) order by c.idx), '[]')
        from claimed c
    ),
    'inputs', (
        select coalesce(jsonb_object_agg(r.id, r.input), '{}')
        from runs r where r.id in (select c.run_id from claimed c where not c.too_large)
    ),
    -- Sealed: what their tenants brought along, for calls that leave the Worker, and the secrets that they name.
    'owners', (
        select coalesce(jsonb_object_agg(t.id, jsonb_build_object(
            'name', t.external_id, 'tier', t.tier,
            'sealed', (
                select coalesce(jsonb_agg(jsonb_build_object('kind', v.kind, 'name', v.name, 'sealed', v.sealed)), '[]')
                from sealed_values v
                where v.tenant_id = t.id and (
                    v.kind = 'setting'
                    or v.name in (
                        select names.value from claimed c, jsonb_array_elements_text(c.secret_names) names
                        where c.tenant_id = t.id
                    )
                )
            )
        )), '{}')
        from tenants t where t.id in (select c.tenant_id from claimed c where c.outside)
    ),
    'to_ring', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'step_id', s.id,
            'delay_ms', greatest(0, ceil(extract(epoch from s.due_at - statement_timestamp()) * 1000))::bigint
        )), '[]')
        from steps s where s.turn_id in (select id from turns) and s.status = 'queued'
    ),
    'more_due', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'step_id', d.id, 'outside', d.outside, 'timeout_ms', d.timeout_ms
        )), '[]')
        from more_due d
    ),
    'news', (
        select coalesce(jsonb_agg(jsonb_build_object(
            'run_id', r.id, 'status', r.status,
            'seq', (select max(h.seq) from status_history h where h.run_id = r.id)
        )), '[]')
        from runs r
        where r.id in (
            select ids.value::uuid from jsonb_array_elements_text(current_setting('aos.turn')::jsonb -> 'settled') ids
            union
            select c.run_id from claimed c
        )
    )
) as data
