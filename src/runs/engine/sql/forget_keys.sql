-- name: tick.forget_keys
-- Idempotency keys are kept for a day.
--
-- $1 how many at most
delete from idempotency_keys k
where (k.tenant_id, k.route, k.key) in (
    select o.tenant_id, o.route, o.key from idempotency_keys o
    where o.created_at < statement_timestamp() - interval '24 hours'
    order by o.created_at limit $1::integer
)
