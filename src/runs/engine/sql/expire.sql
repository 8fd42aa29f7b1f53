-- name: tick.expire
-- Takes steps back from executors that were lost. Whether the effect of one that may have begun it happened is
-- unknown; a step that has cost five executors their lives is not given a sixth.
--
-- $1 claims that may be lost · $2 seconds until cron rings · $3 the turn
with lost as (
    select s.id, s.claims_lost + 1 as lost,
        s.effect_class = 'once' and e.state is not distinct from 'begun' and e.claim_no = s.claim_no as unknown
    from steps s
    left join effects e on e.step_id = s.id
    where s.status = 'running' and s.lease_until < statement_timestamp()
        and s.run_id in (
            select ids.value::uuid from jsonb_array_elements_text(current_setting('aos.turn')::jsonb -> 'runs') ids
        )
)
update steps s
set status = case when l.unknown or l.lost >= $1::smallint then 'failed' else 'queued' end,
    claims_lost = l.lost,
    turn_id = $3::uuid,
    lease_until = null,
    due_at = case when not l.unknown and l.lost < $1::smallint then statement_timestamp() end,
    ring_at = case
        when not l.unknown and l.lost < $1::smallint then statement_timestamp() + make_interval(secs => $2::integer)
    end,
    attempt = s.attempt + case when l.unknown then 1 else 0 end,
    error = case
        when l.unknown then jsonb_build_object(
            'category', 'unknown_effect', 'code', 'unknown_effect', 'retryable', false,
            'message', 'the executor was lost after the effect may have begun; whether it happened is unknown'
        )
        when l.lost >= $1::smallint then jsonb_build_object(
            'category', 'internal', 'code', 'executor_lost', 'retryable', false,
            'message', format('the step was claimed %s times and no executor came back', l.lost)
        )
        else s.error
    end,
    ended_at = case when l.unknown or l.lost >= $1::smallint then statement_timestamp() end
from lost l
where s.id = l.id
