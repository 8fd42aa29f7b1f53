-- name: turn.settle_usage
-- What calls of integrations used and cost, whatever became of their step meanwhile. A turn sent again finds its rows.
--
-- $1 [{step_id, claim_no, n, integration, …}], as settlement.rs defines them
insert into usage (
    step_id, claim_no, n, tenant_id, run_id, agent_id, skill, integration, model, own_key, requests, input_tokens,
    cached_input_tokens, output_tokens, bytes_out, bytes_in, duration_ms, cost_microusd, price_version, provider_status,
    code, provider_request_id, at
)
select
    u.step_id, u.claim_no, u.n, s.tenant_id, s.run_id, r.agent_id, s.skill, u.integration, u.model, u.own_key, u.requests,
    u.input_tokens, u.cached_input_tokens, u.output_tokens, u.bytes_out, u.bytes_in, u.duration_ms, u.cost_microusd,
    u.price_version, u.provider_status, u.code, u.provider_request_id, statement_timestamp()
from jsonb_to_recordset($1::jsonb) as u (
    step_id uuid, claim_no integer, n smallint, integration text, model text, own_key boolean, requests integer,
    input_tokens bigint, cached_input_tokens bigint, output_tokens bigint, bytes_out bigint, bytes_in bigint,
    duration_ms integer, cost_microusd bigint, price_version text, provider_status smallint, code text,
    provider_request_id text
)
join steps s on s.id = u.step_id
join runs r on r.id = s.run_id
on conflict (step_id, claim_no, n) do nothing
