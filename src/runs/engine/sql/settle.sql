-- name: turn.settle
-- Writes what executions came to. Only the holder of the present claim may: claim_no is the fence.
-- A step that was cancelled meanwhile stays cancelled; its effects are still noted by settle_effects.
--
-- $1 the turn · $2 the settlements, as settlement.rs defines them · $3 seconds until cron rings for what is queued
with settlement as (
    select *
    from jsonb_to_recordset($2::jsonb) as s (
        step_id uuid, claim_no integer, verdict text, began boolean, output jsonb, output_ref jsonb,
        output_weight integer, priced boolean, error jsonb,
        outcome jsonb, cost_microusd bigint, duration_ms integer, again_in_ms bigint
    )
)
update steps s
set status = case x.verdict when 'retry' then 'queued' when 'release' then 'queued' else x.verdict end,
    attempt = s.attempt + case when x.began then 1 else 0 end,
    claims_lost = 0,
    turn_id = $1::uuid,
    lease_until = null,
    due_at = case
        when x.verdict in ('retry', 'release')
        then statement_timestamp() + make_interval(secs => coalesce(x.again_in_ms, 0) / 1000.0)
    end,
    ring_at = case
        when x.verdict in ('retry', 'release')
        then statement_timestamp() + make_interval(secs => coalesce(x.again_in_ms, 0) / 1000.0 + $3::integer)
    end,
    output = x.output,
    output_ref = x.output_ref,
    -- As the database will give it, which is more than its compact form has; or as the archive will; or what its values
    -- take in memory, if that is more. Claims carry so much and no more.
    output_bytes = greatest(
        coalesce(octet_length(x.output::text), (x.output_ref ->> 'bytes')::integer, 0), coalesce(x.output_weight, 0)
    ),
    error = case when x.verdict = 'release' then s.error else x.error end,
    outcome = coalesce(x.outcome, s.outcome),
    -- Every attempt that was billed counts; one unknown cost makes the sum unknown, as does what a lost executor spent.
    cost_microusd = case
        when not x.began then s.cost_microusd
        when x.priced and s.claims_lost > 0 then null
        when s.attempt = 0 then x.cost_microusd
        else s.cost_microusd + x.cost_microusd
    end,
    duration_ms = coalesce(x.duration_ms, s.duration_ms),
    ended_at = case when x.verdict in ('retry', 'release') then null else statement_timestamp() end
from settlement x
where s.id = x.step_id and s.claim_no = x.claim_no and s.status = 'running'
