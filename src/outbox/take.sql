-- name: outbox.take
-- Takes due events for delivery, under a lease; sent again, gives the same ones.
--
-- $1 the taking · $2 how many at most · $3 lease in seconds · $4 deliveries tried before giving up
with due as (
    select o.id
    from outbox o
    where o.due_at <= statement_timestamp() and o.attempts < $4::integer
        and not exists (select from outbox taken where taken.turn_id = $1::uuid)
    order by o.due_at
    limit $2::integer
    for no key update skip locked
),
taken as (
    update outbox o
    set turn_id = $1::uuid, attempts = o.attempts + 1, due_at = statement_timestamp() + make_interval(secs => $3::integer)
    from due
    where o.id = due.id
    returning o.id, o.topic, o.payload
)
select jsonb_build_object('id', t.id, 'topic', t.topic, 'payload', t.payload) as data
from (
    select id, topic, payload from taken
    union
    select id, topic, payload from outbox where turn_id = $1::uuid
) t
order by t.id
