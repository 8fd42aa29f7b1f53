-- name: api_keys.lock
-- Keys of one tenant are made one after the other: none slips past the limit.
select pg_advisory_xact_lock(hashtextextended('api_keys:' || current_tenant()::text, 0))
