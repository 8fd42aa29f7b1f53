-- name: outbox.delete
-- What is delivered is done with.
delete from outbox o
where o.id in (select ids.value::uuid from jsonb_array_elements_text($1::jsonb) ids)
