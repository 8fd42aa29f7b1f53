-- name: turn.start_runs
-- A run is running from its first claimed step on.
--
-- $1 the turn
update runs r
set status = 'running', started_at = statement_timestamp()
where r.status = 'queued'
    and r.id in (select s.run_id from steps s where s.turn_id = $1::uuid and s.status = 'running')
