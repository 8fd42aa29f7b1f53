-- name: turn.take_turns
-- Who was served goes to the end of the line.
--
-- $1 the turn
update tenants t
set last_claimed_at = statement_timestamp()
where t.id in (select s.tenant_id from steps s where s.turn_id = $1::uuid and s.status = 'running')
