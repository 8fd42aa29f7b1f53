-- name: outbox.postpone
-- Tries again later, each time twice as late up to an hour; in the end the event stays for a person to look at.
--
-- $1 the events · $2 deliveries tried before giving up · $3 what went wrong
update outbox o
set due_at = case
        when o.attempts < $2::integer
        then statement_timestamp() + make_interval(secs => least(3600, 5 * 2 ^ least(o.attempts, 10)))
    end,
    last_error = left($3, 500)
where o.id in (select ids.value::uuid from jsonb_array_elements_text($1::jsonb) ids)
